"""Tokens: by which the service knows who sends something, and what they may do.

A token is `onrecord_<name>_<secret>`, its secret being 256 random bits. Nobody keeps it
but whom it was made for: here is its SHA-256, which for a secret that long is as good
as any slower hash, and quick enough to be asked for at every request. The service may
read them and nothing else; the owner of the tables makes and revokes them.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe
from typing import Final

from sqlalchemy import Connection, RowMapping, func, insert, select, text, update

from service.domain.article import SLUG_PATTERN
from service.domain.errors import TokenExists, TokenUnknown
from service.domain.scopes import Scope
from service.tables import token

#: What each begins with, so that people, and programs that look for secrets, know one when they see it.
PREFIX: Final = "onrecord"
_SECRET_BYTES: Final = 32
_NAME: Final = re.compile(SLUG_PATTERN)
_NAME_MAX: Final = 64
_IN_FORCE: Final = token.c.revoked_at.is_(None) & (token.c.expires_at > func.clock_timestamp())


@dataclass(frozen=True, slots=True)
class Token:
    """A token, but for its secret."""

    name: str  #: a slug, one token's among those in force; what is sent with it is sent by `token:<name>`.
    sha256: bytes  #: of the whole token.
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


def is_name(name: str) -> bool:
    """Whether a token can have this name."""
    return len(name) <= _NAME_MAX and _NAME.fullmatch(name) is not None


def create(conn: Connection, name: str, *, scopes: Collection[Scope], expires_at: datetime) -> str:
    """Make a token that is in force until `expires_at`, and return it: it cannot be had again.

    Two at once do not get one name: they take turns. Raises TokenExists.
    """
    assert is_name(name)
    conn.execute(text("LOCK TABLE onrecord.token IN SHARE ROW EXCLUSIVE MODE"))
    if name in in_force(conn):
        raise TokenExists(name)
    made = f"{PREFIX}_{name}_{token_urlsafe(_SECRET_BYTES)}"
    conn.execute(
        insert(token).values(
            sha256=_hash(made),
            name=name,
            scopes=[scope.value for scope in Scope if scope in scopes],
            created_at=func.clock_timestamp(),
            expires_at=expires_at,
        )
    )
    return made


def revoke(conn: Connection, name: str) -> None:
    """Let the token of this name be in force no longer. Raises TokenUnknown where none is."""
    revoked = update(token).where(token.c.name == name, _IN_FORCE).values(revoked_at=func.clock_timestamp())
    if conn.execute(revoked).rowcount == 0:
        raise TokenUnknown(name)


def all_tokens(conn: Connection) -> list[tuple[Token, bool]]:
    """Every token that was ever made, the last first, and whether it is in force."""
    rows = conn.execute(select(token, _IN_FORCE.label("in_force")).order_by(token.c.created_at.desc())).mappings()
    return [(_token(row), row["in_force"]) for row in rows]


def in_force(conn: Connection) -> dict[str, Token]:
    """The tokens that are neither revoked nor expired by the database's clock, by name."""
    rows = conn.execute(select(token).where(_IN_FORCE)).mappings()
    return {row["name"]: _token(row) for row in rows}


def known(sent: str, among: Mapping[str, Token]) -> Token | None:
    """Which of the tokens was sent; None if it is none of them.

    How long it takes tells of no secret: a token says its name, which everybody may know
    (the log names it), and the hashes are compared in constant time.
    """
    prefix, _, rest = sent.partition("_")
    name, _, _ = rest.partition("_")
    found = among.get(name) if prefix == PREFIX else None
    return found if found is not None and compare_digest(found.sha256, _hash(sent)) else None


def _hash(whole: str) -> bytes:
    return sha256(whole.encode(errors="replace")).digest()


def _token(row: RowMapping) -> Token:
    return Token(
        row["name"],
        bytes(row["sha256"]),
        frozenset(map(Scope, row["scopes"])),
        row["created_at"],
        row["expires_at"],
        row["revoked_at"],
    )
