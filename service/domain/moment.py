"""Moments: when something was said or published, at the precision it was given.

A moment is kept as its canonical text: a bare date (`2022-02-15`) or an instant
in UTC (`2022-02-15T18:00:00Z`, RFC 3339, with at most six decimals). A bare date
means "some time on that day", so what counts is its end.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(\.\d{1,20})?(Z|[+-]\d{2}:\d{2})?",
    re.ASCII,
)
_YEARS = range(1000, 3000)


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The moment as it is kept: dates as they are, instants in UTC without needless decimals.

    Raises ValueError with a sentence that says what to send instead.

    >>> canonical("2022-02-15")
    '2022-02-15'
    >>> canonical("2022-02-15T19:30:00.500+01:00")
    '2022-02-15T18:30:00.5Z'
    """
    if _DATE.fullmatch(text):
        _within_years(_existing(text))
        return text
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError('is not a moment; write a date, "2022-02-15", or an instant, "2022-02-15T18:00:00Z"')
    whole, fraction, offset = found.groups()
    if offset is None:
        raise ValueError('is an instant without offset; add the offset from UTC, such as "Z" or "+02:00"')
    if fraction is not None and len(fraction.rstrip("0")) > len(".123456"):
        raise ValueError("is finer than a microsecond; send at most six decimals")
    instant = _existing(whole + (fraction or "")[:7] + offset)
    _within_years(instant)
    try:
        utc = instant.astimezone(UTC)
    except OverflowError:  # pragma: no cover - years are checked first
        raise ValueError(_YEAR) from None
    _within_years(utc)
    return instant_text(utc)


def instant_text(instant: datetime) -> str:
    """An instant in UTC as its canonical moment.

    >>> instant_text(datetime(2022, 2, 15, 18, 0, 0, 250, tzinfo=UTC))
    '2022-02-15T18:00:00.00025Z'
    """
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


@lru_cache(maxsize=65536)
def end(moment: str) -> datetime:
    """The latest instant that a canonical moment can mean, in UTC.

    >>> end("2022-02-15").isoformat()
    '2022-02-15T23:59:59.999999+00:00'
    >>> end("2022-02-15T18:00:00Z").isoformat()
    '2022-02-15T18:00:00+00:00'
    """
    if len(moment) == len("2022-02-15"):
        day = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        return day + timedelta(days=1) - timedelta(microseconds=1)
    return datetime.fromisoformat(moment)


_YEAR = "has a year outside 1000 to 2999"


def _within_years(instant: datetime) -> None:
    if instant.year not in _YEARS:
        raise ValueError(_YEAR)


def _existing(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("does not exist in the calendar or on the clock; check day, month and time") from None
