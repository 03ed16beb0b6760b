"""`onrecord token create`, `list` and `revoke`: who may do what over the API."""

import contextlib
import re
from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg.errors
from rich.table import Table
from sqlalchemy import Connection, NullPool
from sqlalchemy.exc import DBAPIError
from typer import BadParameter

from service import tokens
from service.cli import opening, terminal
from service.config import Settings
from service.database import engine as engines
from service.domain import moment
from service.domain.errors import RoleUnfit
from service.domain.scopes import Scope
from service.tokens import Token

_LENGTH: Final = re.compile(r"([1-9]\d{0,3})([hdw])", re.ASCII)
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def create(settings: Settings, name: str, *, named: Sequence[str], expires: str) -> None:
    """Make a token and print it, alone on standard output, this once."""
    if not tokens.is_name(name):
        raise BadParameter(
            f"{name!r} is none: write lower-case words and digits joined by hyphens, at most 64", param_hint="NAME"
        )
    scopes = {_scope(each) for each in named}
    expires_at = _expiry(expires, datetime.now(UTC))
    with _as_owner(settings) as conn:
        made = tokens.create(conn, name, scopes=scopes, expires_at=expires_at)
    terminal.write(made.encode())
    terminal.say(
        f"Keep it: it is not shown again. Whoever has it may {', '.join(sorted(scopes))} as token:{name} until "
        f"{moment.instant_text(expires_at)}, by the header `Authorization: Bearer {tokens.PREFIX}_{name}_...`."
    )


def show(settings: Settings) -> None:
    """Print every token there ever was, without its secret."""
    with _as_owner(settings) as conn:
        found = tokens.all_tokens(conn)
    if not found:
        terminal.say("There are no tokens; `onrecord token create` makes one.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("name", "scopes", "created", "expires", ""):
        table.add_column(title, overflow="fold")
    for token, is_in_force in found:
        scopes = " ".join(scope for scope in Scope if scope in token.scopes)
        times = (moment.instant_text(each.replace(microsecond=0)) for each in (token.created_at, token.expires_at))
        table.add_row(token.name, scopes, *times, _state(token, is_in_force))
    terminal.show(table)


def revoke(settings: Settings, name: str) -> None:
    """Let the token of this name be in force no longer."""
    with _as_owner(settings) as conn:
        tokens.revoke(conn, name)
    terminal.out().print(f"The token {name} is revoked; a running service refuses it within a second.")


def _state(token: Token, is_in_force: bool) -> str:
    if token.revoked_at is not None:
        return f"revoked {moment.instant_text(token.revoked_at.replace(microsecond=0))}"
    return "in force" if is_in_force else "expired"


def _scope(name: str) -> Scope:
    try:
        return Scope(name)
    except ValueError:
        raise BadParameter(f"{name!r} is none of {', '.join(Scope)}", param_hint="--scope") from None


def _expiry(text: str, now: datetime) -> datetime:
    """What `--expires` names: a length of time from now, or a day, meant to its end, or an instant.

    >>> _expiry("12h", datetime(2026, 1, 1, tzinfo=UTC)).isoformat()
    '2026-01-01T12:00:00+00:00'
    >>> _expiry("2026-02-16", datetime(2026, 1, 1, tzinfo=UTC)).isoformat()
    '2026-02-16T23:59:59.999999+00:00'
    """
    try:
        length = _LENGTH.fullmatch(text)
        at = now + int(length[1]) * _UNITS[length[2]] if length else moment.end(moment.canonical(text))
    except ValueError:
        raise BadParameter(
            f"{text!r} is neither a length such as 12h, 90d or 8w, nor a day or instant", param_hint="--expires"
        ) from None
    if at <= now:
        raise BadParameter(f"{text!r} is over already", param_hint="--expires")
    return at


@contextlib.contextmanager
def _as_owner(settings: Settings) -> Generator[Connection]:
    """A transaction of the role that owns the tables: the service itself may only read the tokens."""
    with opening.found(settings) as place, opening.opened(place):
        owner = engines.create(place.owner_url, poolclass=NullPool)
        try:
            with owner.begin() as conn:
                yield conn
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
                raise RoleUnfit(
                    place.owner_url.username or "of ONRECORD_DATABASE_URL",
                    reason="may not change tokens",
                    advice="name the role that owns the tables in ONRECORD_OWNER_URL",
                ) from error
            raise
        finally:
            owner.dispose()
