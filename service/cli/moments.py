"""Moments of the record, as people write them on a command line."""

from datetime import datetime
from typing import Final

from typer import BadParameter

from service.domain import moment

_INVALID: Final = "{!r} is neither a position, nor a day or instant such as 2022-02-16T12:00:00Z"


def then(text: str | None) -> tuple[int | None, datetime | None]:
    """What `--as-of` names: a position, or a time of recording; a day is meant to its end.

    >>> then("42"), then("2022-02-16")[1].isoformat()
    ((42, None), '2022-02-16T23:59:59.999999+00:00')
    """
    if text is None:
        return None, None
    if text.isascii() and text.isdigit():
        return int(text), None
    try:
        return None, moment.end(moment.canonical(text))
    except ValueError:
        raise BadParameter(_INVALID.format(text), param_hint="--as-of") from None
