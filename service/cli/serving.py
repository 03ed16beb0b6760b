"""`onrecord serve` and `onrecord project`: what runs until it is told to stop."""

import asyncio
import contextlib
import dataclasses
import logging
import socket
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from types import FrameType
from typing import Final

import uvicorn
from rich.text import Text
from typer import TyperException

from service import log, tokens
from service.cli import accompanying, integrating, opening, projecting, terminal
from service.cli.integrating import Integrating
from service.cli.listening import Listener
from service.cli.logs import set_up_log
from service.cli.projecting import Projecting
from service.cli.running import collect_seldom
from service.config import Settings
from service.database import engine as engines
from service.domain.scopes import WRITING, Scope

#: How long requests may take to finish when the service is told to stop.
_GRACE_S: Final = 10
#: Requests that read at the same time, and those that write; the rest wait for their turn.
_CONNECTIONS_MAX: Final = 20
#: How long a request waits for its turn, and for what others have locked.
_WAIT_S_MAX: Final = 5
_BACKLOG: Final = 1024
#: What may be done without a token, as ONRECORD_WITHOUT_TOKEN says.
_WITHOUT_TOKEN: Final = {"write": frozenset(Scope), "read": frozenset({Scope.READ}), "nothing": frozenset[Scope]()}


def serve(
    settings: Settings,
    listening: socket.socket,
    *,
    debug: bool = False,
    started: Callable[[str], None] | None = None,
) -> None:
    """Answer on the socket until SIGINT or SIGTERM; then requests and the batch in hand are finished.

    A second signal waits for neither. `started` is called with the address once it answers.
    """
    set_up_log(settings.log)
    with (
        listening,
        _measured(settings) as measured,
        opening.found(settings) as found,
        opening.opened(found) as engine,
    ):
        signing = Integrating.of(engine, settings)
        # Before anything is answered from a log that is not what was signed.
        signing.check()
        generation = projecting.prepared(engine, settings.policies.split())
        address = _address(listening)
        with engine.connect() as conn:
            for warning in opening.warnings_of_role(conn):
                terminal.warn(warning)
            may_write = any(each.scopes & WRITING for each in tokens.in_force(conn).values())
        if settings.without_token != "write" and not may_write:
            terminal.warn("Nobody may write: no token for it is in force. `onrecord token create` makes one.")

        def announce() -> None:
            console = terminal.out()
            console.print(Text.assemble("Onrecord answers at ", (f"{address}/graphql", "bold")))
            console.print(Text.assemble("A browser shows its record at ", (f"{address}/", "bold")))
            if measured is not None:
                console.print(Text(f"Prometheus finds its metrics at {_address(measured)}/metrics", "faint"))
            console.print(Text(f"It keeps its record in {found.where}; Ctrl-C stops it.", "faint"))
            if started is not None:
                started(address)
            sys.stdout.flush()

        beside = accompanying.projected_beside(found.url, generation, log_form=settings.log)
        with beside, integrating.in_background(signing, engine):
            _answer(listening, measured, found, settings, announce, debug=debug)
    terminal.say("Stopped.")


def project(settings: Settings, *, once: bool) -> None:
    """Project until told to stop, or `once` until the beliefs are up to date."""
    set_up_log(settings.log)
    with opening.open_database(settings) as engine:
        generation = projecting.prepared(engine, settings.policies.split())
        projector = Projecting(engine, generation)
        if not once:
            terminal.say("The projector runs; Ctrl-C stops it.")
            with Listener(engine, log.CHANNEL) as listener:
                projector.run(listener, threading.Event())
            return
        events = 0
        with terminal.waiting("Projecting ...") as update:
            for progress in projector.catch_up():
                events += progress.events
                update(f"Projecting, at position {progress.position:,} ...")
        if projector.stopped is not None:
            raise TyperException(f"Stopped at position {projector.position}: {projector.stopped.because}.")
        new = "1 entry was" if events == 1 else f"{events:,} entries were"
        terminal.out().print(f"The beliefs are up to date, at position {projector.position:,}; {new} new.")


def bound(settings: Settings, host: str, port: int) -> socket.socket:
    """A socket at this address, before anything else is begun that would have to be undone.

    Refused where whoever comes from elsewhere could write.
    """
    made = _bound(host, port, "--host or ONRECORD_HOST", "--port or ONRECORD_PORT")
    if settings.without_token == "write" and not _is_loopback(made):
        made.close()
        raise TyperException(
            f"At {host} others can come from elsewhere, and without a token they could write. Set "
            "ONRECORD_WITHOUT_TOKEN=read, or nothing, and let those who write have tokens: `onrecord token create`."
        )
    return made


def _bound(host: str, port: int, host_named: str, port_named: str) -> socket.socket:
    """A socket at this address; where there can be none, it is said by what another is chosen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise TyperException(
            f"There is no address {host}: {error.strerror}. Choose another with {host_named}."
        ) from None
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        # Who comes too early waits, and nobody else can take the port meanwhile.
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise TyperException(
            f"Port {port} at {host} cannot be used: {error.strerror}. "
            f"Choose another with {port_named}; 0 takes a free one."
        ) from None
    return made


class _Server(uvicorn.Server):
    """Uvicorn, but for what it does about signals and says about itself."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None], end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce, self._end_streams = announce, end_streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        terminal.say("Stopping; once more stops at once.")
        # They would never end by themselves.
        self._end_streams()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Uvicorn would also raise it once more at its end, and nothing after it would be closed.
        if self.should_exit:
            self.force_exit = True
            # It would print a trace for each request that is cut off, and that is what was asked for.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self.should_exit = True


class _Beside(uvicorn.Server):
    """Uvicorn beside another, which hears the signals, says what there is to say and ends it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@contextlib.contextmanager
def _measured(settings: Settings) -> Generator[socket.socket | None]:
    """The socket at which metrics are asked for; None where none is set."""
    if settings.metrics_port is None:
        yield None
        return
    with _bound(settings.metrics_host, settings.metrics_port, "ONRECORD_METRICS_HOST", "ONRECORD_METRICS_PORT") as made:
        yield made


def _answer(
    listening: socket.socket,
    measured: socket.socket | None,
    found: opening.Place,
    settings: Settings,
    announce: Callable[[], None],
    *,
    debug: bool,
) -> None:
    from service.api.access import Access
    from service.api.app import create
    from service.api.limits import DEFAULTS, Limits
    from service.api.probes import Readiness
    from service.cli import connecting

    given = {each.name: getattr(settings, each.name) for each in dataclasses.fields(Limits)}
    if settings.requests_per_s_max is None:
        # Whoever is on this machine is no stranger, or a proxy behind which all would be one.
        given["requests_per_s_max"] = 0 if _is_loopback(listening) else DEFAULTS.requests_per_s_max
    limits = Limits(**given)
    options = engines.answering(found.url, connections_max=_CONNECTIONS_MAX, wait_s_max=_WAIT_S_MAX)
    engine = engines.create_async(found.url, **options)
    # The connection that was used last: its server process still has at hand what the next request needs.
    reading = engines.create(found.url, pool_use_lifo=True, **options)
    app = create(
        engine=engine,
        reading=reading,
        access=Access(engine, without_token=_WITHOUT_TOKEN[settings.without_token]),
        compiled=settings.compiled,
        answers_bytes=settings.answers_bytes,
        slow_s=settings.slow_s,
        limits=limits,
        origins=settings.cors_origins.split(),
        trusted_proxies=settings.trusted_proxies.split(),
        ready=Readiness(settings.ready_lag_positions, settings.ready_lag_s, settings.ready_unsigned_s),
        debug=debug,
    )
    beside = _Beside(uvicorn.Config(app.metrics, log_config=None, access_log=False, lifespan="off"))
    config = uvicorn.Config(
        app,
        http=connecting.limited(limits),
        ws_max_size=limits.body_bytes_max,
        # Whom to believe is a setting, and what serves is nobody's business.
        proxy_headers=False,
        server_header=False,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_GRACE_S,
        # It takes memory for each connection, and time for each of those that get the same.
        ws_per_message_deflate=False,
    )

    # Now that all of the API is loaded.
    collect_seldom()

    async def answer() -> None:
        # A thread for each connection: who reads slowly does not hold up the others.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_CONNECTIONS_MAX, "onrecord-read"))
        measuring = measured and asyncio.create_task(beside.serve([measured]))
        try:
            await _Server(config, announce, app.end_streams).serve([listening])
        finally:
            if measuring is not None:
                beside.should_exit = True
                await measuring
            await engine.dispose()
            reading.dispose()

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(answer())


def _is_loopback(listening: socket.socket) -> bool:
    return ip_address(listening.getsockname()[0]).is_loopback


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
