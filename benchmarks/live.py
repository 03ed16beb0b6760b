"""Streams: many subscribers who are far behind at once, and the same ones once they are there.

`python -m benchmarks.live` prints what they got, how fast, and what the service held meanwhile.
"""

import argparse
import itertools
import json
import selectors
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from benchmarks import generator, ours
from benchmarks.server import started

#: What the explorer follows, and a selection that needs the database for each item.
_QUERIES = {
    "the transitions alone": "{ transitions(after: $after) { cursor slug from to reason position recordedAt } }",
    "with claim and belief": (
        "{ transitions(after: $after) { cursor from to claim { proposition belief { state reason } } } }"
    ),
}
_DONE_S = 60.0


class _Subscribers:
    """As many connections, read as fast as they come."""

    def __init__(self, port: int, query: str, count: int, after: str) -> None:
        asked = urlencode(
            {"query": f"subscription ($after: String) {query}", "variables": json.dumps({"after": after})}
        )
        request = f"GET /graphql?{asked} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode()
        self._ready = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        for number in range(count):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(request)
            connection.setblocking(False)
            self._ready.register(connection, selectors.EVENT_READ, number)
            self._sockets.append(connection)
        self._rest = [b""] * count

    def until(self, items: int) -> tuple[float, int]:
        """Read until each has so many items; returns the seconds that it took, and the bytes of it."""
        begun, missing, read = time.perf_counter(), [items] * len(self._sockets), 0
        waiting = len(self._sockets)
        while waiting:
            ready = self._ready.select(_DONE_S)
            if not ready:
                raise TimeoutError(f"{waiting} subscribers wait for up to {max(missing)} items")
            for key, _ in ready:
                number, data = key.data, key.fileobj.recv(1 << 18)  # pyright: ignore[reportAttributeAccessIssue]
                if not data:
                    raise ConnectionError("a subscriber was cut off")
                read += len(data)
                text = self._rest[number] + data
                found = text.count(b"event: next\n")
                # What may be the beginning of the next.
                self._rest[number] = text[-11:] if not text.endswith(b"event: next\n") else b""
                before = missing[number]
                missing[number] -= found
                waiting -= before > 0 >= missing[number]
        return time.perf_counter() - begun, read

    def close(self) -> None:
        for each in self._sockets:
            each.close()
        self._ready.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    parsing = argparse.ArgumentParser(description=__doc__)
    parsing.add_argument("--positions", type=int, default=10_000, help="how far behind they are")
    parsing.add_argument("--subscribers", type=int, default=200)
    parsing.add_argument("--commits", type=int, default=100, help="how many articles come once they are there")
    asked = parsing.parse_args(arguments)
    articles = generator.articles()
    with started() as server, tempfile.TemporaryDirectory() as folder:
        database = server.database("live", migrated=True)
        with ours.engine_of(database) as engine:
            ours.fill(engine, itertools.islice(articles, asked.positions))
            ours.projected(engine)
            with engine.connect() as conn:
                schema = ours.schema_of_live(database)
                count = f"SELECT count(*) FROM {schema}.transition WHERE policy = 'unanimous@1'"
                items: int = conn.exec_driver_sql(count).scalar_one()
                for name, query in _QUERIES.items():
                    with ours.serving(database, Path(folder)) as service:
                        idle = ours.memory_mib(service.pid)
                        there = _Subscribers(service.port, query, asked.subscribers, "0")
                        seconds, read = there.until(items)
                        each = asked.subscribers * items
                        print(
                            f"{name}: {asked.subscribers} subscribers, {asked.positions:,} positions behind, "
                            f"{items:,} transitions each: {seconds:.1f} s, {each / seconds:,.0f} items/s, "
                            f"{read / seconds / 2**20:.0f} MiB/s; the service held {idle:.0f} MiB idle "
                            f"and {ours.memory_mib(service.pid):.0f} MiB at most"
                        )
                        conn.rollback()
                        begun = time.perf_counter()
                        for document in itertools.islice(articles, asked.commits):
                            ours.append_one(engine, document)
                        appended_s = time.perf_counter() - begun
                        ours.wait_until_projected(database)
                        new = conn.exec_driver_sql(count).scalar_one() - items
                        there.until(new)
                        seconds = time.perf_counter() - begun
                        items += new
                        print(
                            f"{name}, live: {asked.commits} articles in {appended_s:.1f} s; "
                            f"all {asked.subscribers} had their {new} transitions after {seconds:.1f} s"
                        )
                        there.close()


if __name__ == "__main__":
    main()
