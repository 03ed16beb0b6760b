"""Those who use a service that is killed: they record, follow and read, and hold it to what it told them.

Each goes on as a user would. What was not acknowledged is sent again, the same document; a stream
that was cut is taken up after the last cursor; a read that was not answered is asked again.
"""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import httpx
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.sync.client import connect

from tests.builders import Said, asserts, denies, document, url, withholds
from tests.live import EVENTS, TRANSITIONS, Socket, told
from tests.test_api_mutations import RETRACT, sent

#: Who gets no answer for so long is kept waiting, whatever was killed.
HANGS_S: Final = 60.0
_AGAIN_S: Final = 0.05
#: What a service may say that cannot answer just now.
_LATER: Final = {"DATABASE_UNREACHABLE", "DATABASE_EXHAUSTED", "BUSY"}
_RECORD: Final = """mutation ($input: ArticleInput!, $wait: Float!) { recordArticle(input: $input, waitSeconds: $wait) {
    __typename ... on ArticleAccepted { position } ... on ArticleRepeated { position retractedAt }
    ... on ArticleRefused { code message } } }"""
_RETRACT: Final = RETRACT.replace("waitSeconds: 20", "waitSeconds: 0")
_READS: Final = (
    "{ claims(first: 5) { nodes { slug belief { state reason } } totalCount } log { head projected } }",
    "{ articles(last: 5) { nodes { url revision live } } }",
    '{ claim(slug: "claim-1") { belief { state } history(last: 5) { nodes { to } } statements { nodes { id } } } }',
)
_CLAIMS: Final = [f"claim-{number}" for number in range(12)]
_SPEAKERS: Final = [f"speaker_{number}" for number in range(8)]


class Broken(AssertionError):
    """A promise was not kept."""


class Person(threading.Thread):
    """Does one thing after another until told to stop; what it found broken is raised by `stopped`."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name=name, daemon=True)
        self.port = port
        self.stopping = threading.Event()
        self.broken: BaseException | None = None
        self.unanswered = 0  #: requests and streams that were cut off, or put off with 503.

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self.act()
        except BaseException as error:  # noqa: BLE001 - told by whom it belongs to
            self.broken = error

    def act(self) -> None:
        raise NotImplementedError

    def check(self) -> None:
        """Raise what was found broken so far."""
        if self.broken is not None:
            raise Broken(f"{self.name}: {self.broken!r}") from self.broken

    def stop(self) -> None:
        self.stopping.set()

    def stopped(self) -> None:
        """Wait for the end. Raises what was found broken."""
        self.stop()
        self.join(HANGS_S)
        self.check()
        if self.is_alive():
            raise Broken(f"{self.name} does not come to an end")

    def ask(self, client: httpx.Client, query: str, **variables: Any) -> dict[str, Any] | None:
        """The whole answer; None where there was none, or it was put off."""
        try:
            response = client.post("/graphql", json={"query": query, "variables": variables})
        except httpx.ReadTimeout:
            raise Broken("no answer, and no refusal") from None
        except httpx.TransportError:
            self.unanswered += 1
            return None
        answer = response.json()
        codes = {each["extensions"]["code"] for each in answer.get("errors", ())}
        if response.status_code == 503 and codes <= _LATER and int(response.headers["retry-after"]) > 0:
            self.unanswered += 1
            return None
        if response.status_code != 200 or codes:
            raise Broken(f"{response.status_code} {answer}")
        return answer

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=HANGS_S)

    def pause(self, pause_s: float) -> None:
        self.stopping.wait(pause_s)


@dataclass(frozen=True)
class Written:
    """What a recorder has to send, and what it is to be found by."""

    query: str
    variables: dict[str, Any]
    key: tuple[str, str, int]  #: type of the event, URL, revision.


class Recorder(Person):
    """Records, revises and retracts articles of its own, one after another, each until it is acknowledged."""

    def __init__(self, name: str, port: int, chance: Random, *, pause_s_max: float = 0.06) -> None:
        super().__init__(name, port)
        self._chance, self._pause_s_max = chance, pause_s_max
        self._revisions: dict[str, int] = {}
        self._retracted: set[str] = set()
        self._http = self.client()
        #: Where each document was recorded, as it was acknowledged.
        self.acknowledged: dict[tuple[str, str, int], int] = {}
        self.repeats = 0  #: acknowledged as known already: recorded, and the answer was lost.

    def act(self) -> None:
        written = self._next()
        attempts = 0
        while (position := self._acknowledged(written, attempts)) is None:
            attempts += 1
            time.sleep(_AGAIN_S)
        self.acknowledged[written.key] = position
        self.pause(self._chance.uniform(0, self._pause_s_max))

    def stopped(self) -> None:
        super().stopped()
        self._http.close()

    def _next(self) -> Written:
        chance = self._chance
        live = sorted(self._revisions.keys() - self._retracted)
        if live and chance.random() < 0.1:
            name = chance.choice(live)
            self._retracted.add(name)
            key = ("ArticleRetracted", url(name), 0)
            return Written(_RETRACT, {"url": url(name), "reason": "It was made up."}, key)
        name = chance.choice(live) if live and chance.random() < 0.2 else f"{self.name}/{len(self._revisions) + 1}"
        revision = self._revisions[name] = self._revisions.get(name, 0) + 1
        said: Any = {speaker: self._said() for speaker in chance.sample(_SPEAKERS, chance.randint(1, 3))}
        change: Any = {"change": "outlet"} if revision > 1 else {}
        text = f"So {name} says, in revision {revision}: they said so."
        made = document(name, revision=revision, text=text if chance.random() < 0.3 else None, **change, **said)
        kind = "ArticleRecorded" if revision == 1 else "ArticleRevised"
        wait_s = chance.choice([0, 0, 0, 5])
        return Written(_RECORD, {"input": sent(made), "wait": wait_s}, (kind, url(name), revision))

    def _said(self) -> Said:
        stance = self._chance.choice([asserts, asserts, denies, withholds])
        said = f"2022-02-{self._chance.randint(1, 14):02}"
        return stance(self._chance.choice(_CLAIMS), said=said, bloc=self._chance.choice(["east", "west"]))

    def _acknowledged(self, written: Written, attempts: int) -> int | None:
        answer = self.ask(self._http, written.query, **written.variables)
        if answer is None:
            return None
        (outcome,) = answer["data"].values()
        match outcome:
            case {"__typename": "ArticleAccepted", "position": int(position)}:
                return position
            case {"__typename": "ArticleRepeated"} if attempts:
                self.repeats += 1
                return outcome["position"]
            case _:
                raise Broken(f"{outcome} for {written.key}, sent {attempts} times before")


class Follower(Person):
    """Follows a stream from the beginning of the log, and goes on after its last cursor wherever it was cut off."""

    def __init__(self, name: str, port: int, *, events: bool, socket: bool) -> None:
        super().__init__(name, port)
        self._query, self._events, self._socket = (EVENTS if events else TRANSITIONS), events, socket
        self.cursors: list[str] = []  #: what came, in order.
        self._hang_up: Any = None

    def act(self) -> None:
        try:
            for item in self._by_socket() if self._socket else self._by_sse():
                ((name, data),) = item["data"].items()
                self.cursors.append(str(data["position"] if name == "events" else data["cursor"]))
        except (httpx.TransportError, WebSocketException, InvalidHandshake, OSError, EOFError):
            if not self.stopping.is_set():
                self.unanswered += 1
                self.pause(_AGAIN_S)

    def stop(self) -> None:
        super().stop()
        if self._hang_up is not None:
            with contextlib.suppress(Exception):
                self._hang_up()

    def _after(self) -> Any:
        last = self.cursors[-1] if self.cursors else "0"
        return int(last) if self._events else last

    def _by_sse(self) -> Iterator[Any]:
        asked = {"query": self._query, "variables": json.dumps({"after": self._after()})}
        headers = {"accept": "text/event-stream"}
        with (
            self.client() as client,
            client.stream("GET", "/graphql", params=asked, headers=headers, timeout=HANGS_S) as response,
        ):
            if response.status_code == 503:
                raise EOFError
            self._hang_up = response.extensions["network_stream"].get_extra_info("socket").close
            for each in told(response.iter_lines()):
                # It says where it stands every 15 seconds, so a read that takes longer hangs.
                if each.kind != "next" or "errors" in each.data:
                    raise Broken(f"the stream ended by {each}")
                yield each.data
        raise EOFError

    def _by_socket(self) -> Iterator[Any]:
        options: Any = {"subprotocols": ["graphql-transport-ws"], "compression": None}
        with connect(f"ws://127.0.0.1:{self.port}/graphql", **options) as connection:
            self._hang_up = connection.close
            socket = Socket(connection)
            socket.send(type="connection_init")
            assert socket.receive() == {"type": "connection_ack"}
            socket.subscribe(self._query, after=self._after())
            while True:
                with contextlib.suppress(TimeoutError):
                    message = socket.receive()
                    if message["type"] != "next" or "errors" in message["payload"]:
                        raise Broken(f"the stream ended by {message}")
                    yield message["payload"]


class Reader(Person):
    """Asks this and that; what it sees never goes back. Keeps the checkpoints that it was given."""

    def __init__(self, name: str, port: int, chance: Random, *, pause_s: float = 0.05) -> None:
        super().__init__(name, port)
        self._chance, self._pause_s = chance, pause_s
        self._http = self.client()
        self._position = self._head = 0
        self.checkpoints: dict[str, None] = {}
        self.answers = 0

    def act(self) -> None:
        if self._chance.random() < 0.1:
            self._look()
        answer = self.ask(self._http, self._chance.choice(_READS))
        if answer is not None:
            self.answers += 1
            position, head = answer["extensions"]["log"]["position"], answer["extensions"]["log"]["head"]
            if position < self._position or head < self._head:
                raise Broken(f"{answer['extensions']} after position {self._position}, head {self._head}")
            self._position, self._head = position, head
        self.pause(self._pause_s)

    def stopped(self) -> None:
        super().stopped()
        self._http.close()

    def _look(self) -> None:
        with contextlib.suppress(httpx.TransportError):
            response = self._http.get("/checkpoint")
            if response.status_code == 200:
                self.checkpoints[response.text] = None
            elif response.status_code not in (404, 503):
                raise Broken(f"{response.status_code} for the checkpoint")
