"""Clients: processes that send requests one after the other, each over a connection of its own.

A client is a few lines around a socket, so that it costs much less than what it
measures, and it is the same one for everybody who answers by HTTP.
"""

import gzip
import itertools
import json
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from typing import Any, Protocol
from urllib.parse import urlencode

#: Sends request number n, and returns its answer's bytes or rows.
Send = Callable[[int], Any]


class Job(Protocol):
    """What a client does: `open` is called in the client's process, and connects."""

    def open(self) -> AbstractContextManager[Send]: ...


def answer(job: Job, n: int = 0) -> Any:
    """What a client would get for request n."""
    with job.open() as send:
        return send(n)


class Http:
    """A connection that is kept. Understands what servers of JSON answer, and nothing else."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> tuple[bytes, bytes]:
        """The head and the body of the answer."""
        self._socket.sendall(request)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        head, body = received[:end].lower(), received[end + 4 :]
        if b"transfer-encoding: chunked" in head:
            while not body.endswith(b"0\r\n\r\n"):
                body += self._more()
            return head, body
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        parts, missing = [body], length - len(body)
        while missing > 0:
            parts.append(more := self._more())
            missing -= len(more)
        return head, b"".join(parts)

    def __enter__(self) -> "Http":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        received = self._socket.recv(1 << 18)
        if not received:
            raise ConnectionError("the server closed the connection")
        return received


def post(body: bytes, headers: str = "") -> bytes:
    """A GraphQL request as it goes over the wire; each of the headers ends its line."""
    return f"{_HEAD}Content-Length: {len(body)}\r\n{headers}\r\n".encode() + body


_HEAD = "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json\r\n"


def get(body: bytes, headers: str = "") -> bytes:
    """The same request by GET, of which an answer may be that nothing has changed."""
    asked = json.loads(body)
    sent = urlencode({"query": asked["query"], "variables": json.dumps(asked.get("variables", {}))})
    return f"GET /graphql?{sent} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n{headers}\r\n".encode()


@dataclass(frozen=True)
class Asking:
    """GraphQL requests to a server: bodies in turn, and in each of them numbers that vary.

    "%d" is one of `distinct` numbers, another one each time; "%e" is that and `span`.
    """

    port: int
    bodies: tuple[bytes, ...]
    distinct: int = 1
    span: int = 0
    headers: str = ""
    status: bytes = b"200"
    written: Callable[[bytes, str], bytes] = post

    def request(self, n: int) -> bytes:
        turn, which = divmod(n, len(self.bodies))
        number = turn % self.distinct
        body = self.bodies[which]
        for mark, value in ((b"%d", number), (b"%e", number + self.span)):
            told = str(value).encode()
            body = body.replace(b'"' + mark + b'"', told).replace(mark, told)
        return self.written(body, self.headers)

    @contextmanager
    def open(self) -> Generator[Send]:
        # One that never varies is made once, as a client that repeats itself would.
        fixed = self.request(0) if self.distinct == len(self.bodies) == 1 else None
        with Http(self.port) as connection:

            def send(n: int) -> bytes:
                head, body = connection.send(fixed or self.request(n))
                if head[9:12] != self.status or b'"errors"' in body[:2000]:
                    raise AssertionError(f"answered {head[:200]!r} {body[:500]!r}")
                return body

            yield send


@dataclass(frozen=True)
class Sending:
    """Bodies that are sent once each: n is the n-th."""

    port: int
    packed: bytes = field(repr=False)

    @classmethod
    def of(cls, port: int, bodies: Sequence[bytes]) -> "Sending":
        return cls(port, gzip.compress(b"\n".join(bodies), 1))

    @contextmanager
    def open(self) -> Generator[Send]:
        requests = [post(body) for body in gzip.decompress(self.packed).split(b"\n")]
        with Http(self.port) as connection:

            def send(n: int) -> bytes:
                body = connection.send(requests[n])[1]
                if b'"ArticleAccepted"' not in body:
                    raise AssertionError(body[:500])
                return body

            yield send


@dataclass(frozen=True)
class Done:
    """What clients did together."""

    requests: int
    rate: float  #: requests a second, of all of them.
    following: int  #: the first number that none of them has had.
    latencies_s: list[float] = field(repr=False)


def _client(pipe: Pipe) -> None:
    # An interrupt would only print a trace; it ends when the pipe does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            job, first, step, seconds, most = pipe.recv()
            try:
                # Anew each time: a server may close a connection that rests between two rounds.
                with job.open() as send:
                    pipe.send("ready")
                    pipe.recv()
                    done = _loop(send, first, step, seconds, most)
                pipe.send(done)
            except Exception as error:  # noqa: BLE001 - whoever started the clients raises it
                pipe.send(f"{type(error).__name__}: {error}")
    except (EOFError, ConnectionError):
        return


def _loop(send: Send, first: int, step: int, seconds: float, most: int) -> tuple[int, float, list[float]]:
    latencies: list[float] = []
    begun = last = time.perf_counter()
    for n in itertools.islice(itertools.count(first, step), most):
        send(n)
        now = time.perf_counter()
        latencies.append(now - last)
        last = now
        if now - begun >= seconds:
            break
    return len(latencies), last - begun, latencies


class Clients:
    """Processes that wait for work. Use as a context manager."""

    def __init__(self) -> None:
        self._pipes: list[Pipe] = []
        self._processes: list[BaseProcess] = []

    def __enter__(self) -> "Clients":
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(5)

    def run(self, job: Job, clients: int, *, seconds: float = 1e9, most: int = 2**62, first: int = 0) -> Done:
        """Let so many clients do it for `seconds`, at most `most` requests each, numbered from `first` on."""
        with self.running(job, clients, seconds=seconds, most=most, first=first) as done:
            pass
        return done()

    @contextmanager
    def running(
        self, job: Job, clients: int, *, seconds: float = 1e9, most: int = 2**62, first: int = 0, others: int = 0
    ) -> Generator[Callable[[], Done]]:
        """The same while something else is done; what is given tells at the end what they did.

        The first `others` clients are left to somebody else.
        """
        self._start(others + clients)
        mine = self._pipes[others : others + clients]
        for i, pipe in enumerate(mine):
            pipe.send((job, first + i, clients, seconds, most))
        for pipe in mine:
            _answer(pipe)
        for pipe in mine:
            pipe.send("go")
        done: list[tuple[int, float, list[float]]] = []
        yield lambda: Done(
            sum(count for count, _, _ in done),
            sum(count / took for count, took, _ in done),
            first + clients * max(count for count, _, _ in done),
            [each for _, _, latencies in done for each in latencies],
        )
        done += [_answer(pipe) for pipe in mine]

    def _start(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        while len(self._pipes) < count:
            here, there = context.Pipe()
            process = context.Process(target=_client, args=(there,), daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)


def _answer(pipe: Pipe) -> Any:
    answer = pipe.recv()
    if isinstance(answer, str) and answer != "ready":
        raise RuntimeError(f"a client failed: {answer}")
    return answer
