"""Who sends a request, and what they may do.

A token that is sent is always checked, wherever it is sent and whatever could be done without
one: who believes to be somebody is never taken for nobody.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import Scope

from service import tokens
from service.domain import scopes
from service.domain.errors import DatabaseUnreachable, Forbidden, Unauthenticated
from service.tokens import Token

#: For how long a token that was revoked, or one that is new, may not be noticed.
FRESH_S: Final = 1.0
#: How whoever sends from this machine calls it.
_HERE: Final = (b"localhost", b"127.0.0.1", b"[::1]")
#: Where the scope of a request names who sends it.
SENDER: Final = "onrecord.sender"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends a request."""

    actor: str  #: as events name it: `token:<name>` or `anonymous`.
    may: frozenset[scopes.Scope]
    token: Token | None = None

    def must(self, need: scopes.Scope) -> None:
        """Raise Unauthenticated or Forbidden unless this may be done."""
        if need not in self.may:
            why = f"this needs a token with the scope {need}"
            raise Unauthenticated(why) if self.token is None else Forbidden(self.token.name, needed=need)


def sender(scope: Scope) -> Sender:
    """Who sends the request of this scope."""
    return scope[SENDER]


class Access:
    """Knows the tokens in force, and what may be done without one.

    The tokens are read at most once in `FRESH_S`, and only while some are sent: so one that
    is guessed costs no statement, and reading without a token none either.
    """

    def __init__(self, engine: AsyncEngine, *, without_token: frozenset[scopes.Scope]) -> None:
        self._engine, self.without_token = engine, without_token
        self._known: Mapping[str, Token] = {}
        self._read_at = -FRESH_S
        self._reading: asyncio.Task[None] | None = None

    def nobody(self, host: bytes) -> Sender:
        """Who sends no token.

        Where such a one may write, only to a service that is called by a name of its own machine: a
        page from elsewhere, whose name was made to lead here, and what a proxy passes on, call it by another.
        """
        is_here = host.lower() in _HERE or host.lower().rpartition(b":")[0] in _HERE
        return Sender("anonymous", self.without_token if is_here else self.without_token - scopes.WRITING)

    async def sender(self, authorization: str) -> Sender:
        """Who sends this. Raises Unauthenticated where it is no token in force."""
        scheme, _, sent = authorization.partition(" ")
        found = tokens.known(sent.strip(), await self._in_force()) if scheme.lower() == "bearer" else None
        if found is None:
            raise Unauthenticated("what is sent is no token in force")
        return Sender(f"token:{found.name}", scopes.covered(found.scopes), found)

    async def still(self, sender: Sender) -> None:
        """Raise Unauthenticated if the token that was sent is no longer in force."""
        if sender.token is not None and (await self._in_force()).get(sender.token.name) != sender.token:
            raise Unauthenticated("the token that was sent is in force no longer")

    async def _in_force(self) -> Mapping[str, Token]:
        if time.monotonic() - self._read_at >= FRESH_S:
            # Those who come meanwhile share it, also where it fails; one who leaves does not take it from the others.
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)
        return self._known

    async def _read(self) -> None:
        asked_at = time.monotonic()
        try:
            async with self._engine.connect() as conn:
                self._known = await conn.run_sync(tokens.in_force)
        except (DBAPIError, PoolTimeout) as error:
            reason = "it was lost, or there is none free"
            raise DatabaseUnreachable(where="the database", reason=reason, advice="Ask again in a moment") from error
        self._read_at = asked_at
