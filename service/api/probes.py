"""`/livez`, `/readyz` and `/metrics`: whether the service lives, whether it is fit to answer, and what it measures."""

import asyncio
import contextlib
import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from sqlalchemy import URL, Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from service.api.watching import REGISTRY
from service.database import engine as engines
from service.database import schema
from service.domain.errors import SchemaAhead, SchemaBehind
from service.queries.condition import Condition, condition

#: What is asked by those who keep the service running, as often as they see fit.
PATHS: Final = frozenset({"/livez", "/readyz"})
#: How long a probe waits for the database.
_WAIT_S: Final = 2.0
#: A connection that nobody answers on is given up by then, so that a later look makes another.
_CONNECT_ARGS: Final = {
    "connect_timeout": 2,
    "options": "-c statement_timeout=2s",
    "tcp_user_timeout": 2_000,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 2,
}
_HEADERS: Final = {"Cache-Control": "no-store"}

_READY: Final = Gauge("onrecord_ready", "1 where this check of /readyz is passed.", ["check"], registry=REGISTRY)
_HEAD: Final = Gauge("onrecord_log_position", "The log's last position.", registry=REGISTRY)
_POSITION: Final = Gauge("onrecord_projected_position", "The log is projected up to here.", registry=REGISTRY)
_LAG: Final = Gauge("onrecord_lag_positions", "Entries of the log that are not projected.", registry=REGISTRY)
_LAG_S: Final = Gauge(
    "onrecord_lag_seconds", "For how long the oldest entry has waited that is not projected.", registry=REGISTRY
)
_UNSIGNED_S: Final = Gauge(
    "onrecord_unsigned_seconds", "For how long the oldest entry has waited that no checkpoint holds.", registry=REGISTRY
)

_logger = logging.getLogger("onrecord.api")


@dataclass(frozen=True, slots=True)
class Readiness:
    """Up to where the service counts as ready."""

    lag_positions: int = 10_000  #: entries that are not projected.
    lag_s: float = 60  #: since when the oldest of them waits.
    unsigned_s: float = 60  #: the same for entries that no checkpoint holds.


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so for the service to be ready."""

    ok: bool
    says: str


class Probes:
    """Looks at the database on a connection of its own, so that it asks for none that requests wait for."""

    def __init__(self, url: URL, ready: Readiness) -> None:
        self._engine = engines.create(
            url, pool_size=1, max_overflow=0, pool_pre_ping=True, connect_args=dict(_CONNECT_ARGS)
        )
        self._within = ready
        self._looking: asyncio.Future[Condition | Exception] | None = None
        self._ready = True

    def routes(self) -> list[Route]:
        """`/livez` and `/readyz`."""
        return [Route("/livez", self._livez), Route("/readyz", self._readyz)]

    def metrics(self) -> Starlette:
        """An app of its own with `/metrics`, for another address than what strangers reach."""
        return Starlette(routes=[Route("/metrics", self._metrics)])

    def close(self) -> None:
        """Let go of the connection."""
        self._engine.dispose()

    async def _livez(self, _: Request) -> Response:
        return PlainTextResponse("It lives.\n", headers=_HEADERS)

    async def _readyz(self, _: Request) -> Response:
        checks = self._checks(await self._look())
        ready = all(check.ok for check in checks.values())
        if ready != self._ready:
            self._ready = ready
            failing = [name for name, check in checks.items() if not check.ok]
            _logger.warning("ready" if ready else "not ready", extra={"failing": failing})
        told = {name: {"ok": check.ok, "says": check.says} for name, check in checks.items()}
        return JSONResponse({"ready": ready, "checks": told}, 200 if ready else 503, _HEADERS)

    async def _metrics(self, _: Request) -> Response:
        found = await self._look()
        for name, check in self._checks(found).items():
            _READY.labels(name).set(check.ok)
        unknown = not isinstance(found, Condition)
        _HEAD.set(math.nan if unknown else found.head)
        _POSITION.set(math.nan if unknown else found.position or 0)
        _LAG.set(math.nan if unknown else found.lag)
        _LAG_S.set(math.nan if unknown else found.unprojected_s)
        _UNSIGNED_S.set(math.nan if unknown else found.unsigned_s)
        return Response(generate_latest(REGISTRY), headers={**_HEADERS, "Content-Type": CONTENT_TYPE_LATEST})

    # --- the checks -----------------------------------------------------------------

    def _checks(self, found: Condition | Exception) -> Mapping[str, Check]:
        """Each check by its name. What is said is for strangers too: it names no host, no role and no event."""
        match found:
            case Condition():
                return {
                    "database": Check(True, "The database answers."),
                    "schema": Check(True, "The database is at this program's schema."),
                    **self._of_the_record(found),
                }
            case SchemaBehind() | SchemaAhead():
                database, wrong = Check(True, "The database answers."), Check(False, f"{found}.")
            case _:
                says = f"The database did not answer within {_WAIT_S:g} seconds, or with an error."
                database, wrong = Check(False, says), Check(False, "Nothing is known of it without the database.")
        unknown = Check(False, "Nothing is known of it without a database that fits.")
        return {"database": database, "schema": wrong} | dict.fromkeys(("projector", "lag", "checkpoint"), unknown)

    def _of_the_record(self, found: Condition) -> Mapping[str, Check]:
        within = self._within
        if found.position is None:
            projector = Check(False, "Nothing was ever projected.")
        elif found.stopped_at is not None:
            says = f"The projector stopped before position {found.stopped_at}; `onrecord status` says why."
            projector = Check(False, says)
        else:
            projector = Check(True, "The projector has not stopped.")
        late = found.lag > within.lag_positions or found.unprojected_s > within.lag_s
        return {
            "projector": projector,
            "lag": Check(
                not late,
                f"{found.lag} entries are not projected, the oldest for {found.unprojected_s:.1f} seconds; "
                f"at most {within.lag_positions} and {within.lag_s:g} may be.",
            ),
            "checkpoint": Check(
                found.unsigned_s <= within.unsigned_s,
                f"{found.head - found.signed} entries are in no checkpoint, the oldest for {found.unsigned_s:.1f} "
                f"seconds; at most {within.unsigned_s:g} may be.",
            ),
        }

    # --- looking --------------------------------------------------------------------

    async def _look(self) -> Condition | Exception:
        """What the database says within `_WAIT_S`; who asks while a look is under way shares it."""
        if self._looking is None or self._looking.done():
            loop = asyncio.get_running_loop()
            self._looking = loop.create_future()
            # Not one of a pool's: a database that is frozen holds it, and neither the others nor the end.
            threading.Thread(target=self._tell, args=(loop, self._looking), name="probe", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.shield(self._looking), _WAIT_S)
        except TimeoutError as error:
            return error

    def _tell(self, loop: asyncio.AbstractEventLoop, looking: asyncio.Future[Condition | Exception]) -> None:
        found = _looked(self._engine)
        # The loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(looking.set_result, found)


def _looked(engine: Engine) -> Condition | Exception:
    try:
        with engine.connect() as conn:
            schema.check(conn)
            return condition(conn)
    except Exception as error:  # noqa: BLE001 - whatever it is, the database is not fit to be asked
        return error
