"""Engines: how the service connects to PostgreSQL."""

from typing import Any, Final

import psycopg
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from service.domain.errors import (
    Busy,
    DatabaseExhausted,
    DatabaseTooOld,
    DatabaseUnreachable,
    DatabaseUrlInvalid,
    OnrecordError,
)

OLDEST: Final = 15  #: The oldest major version of PostgreSQL that will do.
CONNECT_TIMEOUT_S: Final = 5
# Many ask at once, and each for little: to begin with workers or with compiling costs more than that takes.
_SESSION: Final = "-c timezone=UTC -c max_parallel_workers_per_gather=0 -c jit=off"
#: A machine that is gone says nothing: half a minute without a sign of it, and the connection is lost.
_SIGNS_OF_LIFE: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}


def create(url: str | URL, **options: Any) -> Engine:
    """An engine for `url`; `options` are `sqlalchemy.create_engine`'s, such as those of the pool.

    Every session is in UTC. Nothing is connected yet; when it is, and it does
    not work, that raises `DatabaseUnreachable` or `DatabaseTooOld` from wherever
    the connection was asked for. Raises `DatabaseUrlInvalid` at once.
    """
    parsed = _parse(url)
    engine = create_engine(parsed, **_with_session_settings(parsed, options))
    _listen(engine)
    return engine


def create_async(url: str | URL, **options: Any) -> AsyncEngine:
    """The same as `create`, for coroutines."""
    parsed = _parse(url)
    engine = create_async_engine(parsed, **_with_session_settings(parsed, options))
    _listen(engine.sync_engine)
    return engine


def answering(url: str | URL, *, connections_max: int, wait_s_max: int) -> dict[str, Any]:
    """The options of engines for those who must not be kept waiting.

    Who finds no connection free, or a table locked by others, is told so after `wait_s_max` seconds.
    """
    given = _parse(url).query.get("options", "")
    return {
        "pool_size": connections_max,
        "max_overflow": 0,
        "pool_timeout": wait_s_max,
        "connect_args": {"options": f"{given} -c lock_timeout={wait_s_max}s"},
    }


def passing(error: BaseException | None) -> type[OnrecordError] | None:
    """What kept the database from answering, where that may pass by itself; None for anything else."""
    match error:
        case Busy() | DatabaseExhausted() | DatabaseUnreachable():
            return type(error)
        case PoolTimeout() | DBAPIError(connection_invalidated=True):
            return DatabaseUnreachable
        case DBAPIError():
            return passing(error.orig)
        case psycopg.OperationalError():
            # Without a state it was not the server that said so.
            return _of_state(error.sqlstate or "08000")
        case _:
            return None


def _of_state(state: str) -> type[OnrecordError] | None:
    """See "PostgreSQL Error Codes" in its documentation."""
    if state == "55P03":
        return Busy
    if state.startswith(("08", "57P")) or state == "53300":
        return DatabaseUnreachable
    return DatabaseExhausted if state.startswith("53") else None


def unreachable(error: OperationalError, url: URL) -> DatabaseUnreachable:
    """What to tell a person about a connection to `url` that could not be made."""
    said = str(error.orig).strip()
    # libpq says "connection to server at ... failed: FATAL:  password ...", a line for each address.
    reason = said.partition("\n")[0].rpartition(" failed: ")[2].removeprefix("FATAL:").strip()
    if url.password:
        reason = reason.replace(str(url.password), "***")
    socket = url.query.get("host")
    host = url.host or (", ".join(socket) if isinstance(socket, tuple) else socket) or "the local socket"
    where = f"the database {url.database} at {host} port {url.port or url.query.get('port', '5432')}"
    advice = "See that PostgreSQL runs there and that ONRECORD_DATABASE_URL names it"
    if "password" in reason or "authentication" in reason:
        advice = "Correct the user and the password in ONRECORD_DATABASE_URL"
    elif "database" in reason and "does not exist" in reason:
        advice = "Create it, or name another in ONRECORD_DATABASE_URL"
    elif "too many clients" in reason or "connection slots" in reason:
        advice = "Close other clients, or raise the server's max_connections"
    return DatabaseUnreachable(where=where, reason=reason.rstrip("."), advice=advice)


def _parse(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseUrlInvalid("cannot be read") from None
    if parsed.drivername not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise DatabaseUrlInvalid(f"begins with {parsed.drivername}://, and onrecord knows PostgreSQL through psycopg")
    if parsed.host and "@" in parsed.host:
        # The rest of the password would be taken for a host, and shown in messages.
        raise DatabaseUrlInvalid("has more than one @; those of the password are written %40")
    return parsed.set(drivername="postgresql+psycopg")


def _with_session_settings(url: URL, options: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {**url.query, **options.get("connect_args", {})}
    settings = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "onrecord",
        **_SIGNS_OF_LIFE,
        **given,
        # With the connection: a statement of its own would cost a round trip, and a rollback would undo it.
        "options": f"{given.get('options', '')} {_SESSION}".strip(),
    }
    for name in url.query.keys() - {"options"}:
        # The dialect reads these from the URL, where hosts and ports may be lists.
        del settings[name]
    return {**options, "connect_args": settings}


def _listen(engine: Engine) -> None:
    event.listen(engine, "connect", _refuse_old)
    event.listen(engine, "handle_error", _explain)


def _refuse_old(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    driver = entry.driver_connection
    assert isinstance(driver, psycopg.Connection | psycopg.AsyncConnection)
    if driver.info.server_version < OLDEST * 10_000:
        version = driver.info.parameter_status("server_version") or ""
        connection.close()
        raise DatabaseTooOld(version=version, oldest=OLDEST)


def _explain(context: ExceptionContext) -> None:
    error = context.sqlalchemy_exception
    if context.connection is not None or context.engine is None:
        return
    # There was no connection yet: it was being made.
    if isinstance(error, OperationalError):
        raise unreachable(error, context.engine.url) from error
    if isinstance(error, ProgrammingError):
        raise DatabaseUrlInvalid(f"has an {error.orig}") from None
