"""The log over HTTP, in the forms of C2SP tlog-tiles: a client that knows nothing but these can verify it."""

import asyncio
import base64
from collections.abc import Callable, Sequence

import httpx
import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette

from service import tree
from service.api import tiles
from service.database import engine as engines
from service.domain import merkle
from service.proof import Checkpoint
from tests.conftest import Database
from tests.test_tree import append, integrate, leaves, signer, small_parser

Get = Callable[..., list[httpx.Response]]


@pytest.fixture
def get(database: Database) -> Get:
    """Answers of the routes to these paths, in order."""

    async def answers(paths: Sequence[str], method: str) -> list[httpx.Response]:
        engine = engines.create_async(database.service_url)
        transport = httpx.ASGITransport(Starlette(routes=tiles.routes(engine)))
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://log") as client:
                return [await client.request(method, path) for path in paths]
        finally:
            await engine.dispose()

    return lambda *paths, method="GET": asyncio.run(answers(paths, method))


def parsed(bundle: bytes) -> list[bytes]:
    """Entries after their lengths, by the words of the specification."""
    entries: list[bytes] = []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        entries.append(bundle[2 : 2 + length])
        assert len(entries[-1]) == length
        bundle = bundle[2 + length :]
    return entries


def test_before_anything_is_signed_there_is_no_checkpoint(engine: Engine, get: Get) -> None:
    append(engine, 1)
    for answer in get("/checkpoint", "/tile/0/000.p/1", "/tile/entries/000.p/1"):
        assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-cache")


def test_the_checkpoint_is_the_newest_and_not_cached(engine: Engine, get: Get) -> None:
    append(engine, 3)
    integrate(engine)
    append(engine, 2)
    signed = integrate(engine)
    (answer,) = get("/checkpoint")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.content == signed.note.encode()


def test_a_client_that_knows_only_the_specification_can_verify_the_log(engine: Engine, get: Get) -> None:
    append(engine, 300)
    integrate(engine)
    with engine.connect() as conn:
        every = leaves(conn)
        known = tree.identity(conn)
    assert known is not None
    checkpoint, *answers = get(
        "/checkpoint",
        "/tile/0/000",
        "/tile/0/001.p/44",
        "/tile/1/000.p/1",
        "/tile/entries/000",
        "/tile/entries/001.p/44",
    )
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "immutable" in answer.headers["cache-control"]
    full, partial, above, first, rest = (answer.content for answer in answers)
    assert parsed(first) + parsed(rest) == every
    assert (len(parsed(first)), len(parsed(rest))) == (256, 44)
    hashes = b"".join(merkle.leaf_hash(leaf) for leaf in every)
    assert full + partial == hashes
    assert above == merkle.root(every[:256])
    origin, size, root = small_parser(checkpoint.text, str(known.key))
    assert (origin, size, root) == (known.origin, 300, merkle.root(every))


def test_a_partial_tile_stays_when_the_tree_goes_on(engine: Engine, get: Get) -> None:
    append(engine, 3)
    integrate(engine)
    before = [answer.content for answer in get("/tile/0/000.p/3", "/tile/entries/000.p/3")]
    append(engine, 300)
    integrate(engine)
    assert [answer.content for answer in get("/tile/0/000.p/3", "/tile/entries/000.p/3")] == before


@pytest.mark.parametrize(
    "path",
    [
        "/tile/0/000",
        "/tile/0/000.p/6",
        "/tile/0/000.p/0",
        "/tile/0/000.p/01",
        "/tile/0/000.p/256",
        "/tile/0/000.p/999",
        "/tile/0/000.p/5/",
        "/tile/0/000.p/",
        "/tile/0/000.p/-1",
        "/tile/0/000.p/٣",
        "/tile/0/001.p/1",
        "/tile/0/0.p/5",
        "/tile/0/0000.p/5",
        "/tile/0/x000/000.p/5",
        "/tile/0/000/000.p/5",
        "/tile/0/x000.p/5",
        "/tile/00/000.p/5",
        "/tile/1/000.p/1",
        "/tile/63/000.p/1",
        "/tile/64/000.p/1",
        "/tile/-1/000.p/1",
        "/tile/data/000.p/5",
        "/tile/entries/000",
        "/tile/entries/000.p/6",
        "/tile/entries/x999/x999/x999/x999/999",
        "/tile/0/x999/x999/x999/x999/999.p/5",
        "/tile/0/x999/x999/x999/x999/x999/x999/x999/999.p/5",
        "/tile/",
    ],
)
def test_what_the_log_does_not_have_is_not_found_and_not_kept_by_caches(engine: Engine, get: Get, path: str) -> None:
    append(engine, 5)
    integrate(engine)
    there, absent = get("/tile/0/000.p/5", path)
    assert there.status_code == 200
    assert (absent.status_code, absent.headers["cache-control"]) == (404, "no-cache")


def test_great_indexes_are_in_groups_of_three_digits(engine: Engine, get: Get) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql("INSERT INTO onrecord.tile VALUES (0, 1234067, %s)", (bytes(range(32)),))
        conn.exec_driver_sql("INSERT INTO onrecord.tile VALUES (12, 1000, %s)", (bytes(32),))
    found = get("/tile/0/x001/x234/067.p/1", "/tile/12/x001/000.p/1", "/tile/0/x001/x234/068.p/1")
    assert [answer.status_code for answer in found] == [200, 200, 404]
    assert found[0].content == bytes(range(32))


def test_entries_that_are_not_signed_yet_are_not_given_out(engine: Engine, get: Get) -> None:
    append(engine, 2)
    integrate(engine)
    append(engine, 2)
    found = get("/tile/entries/000.p/2", "/tile/entries/000.p/3", "/tile/0/000.p/3")
    assert [answer.status_code for answer in found] == [200, 404, 404]


def test_it_is_read_and_not_written(engine: Engine, get: Get) -> None:
    integrate(engine)
    assert [answer.status_code for answer in get("/checkpoint", "/tile/0/000", method="POST")] == [405, 405]
    (head,) = get("/checkpoint", method="HEAD")
    assert (head.status_code, head.content) == (200, b"")


def test_the_checkpoint_is_signed_by_the_key_that_the_log_names(engine: Engine, get: Get) -> None:
    integrate(engine)
    (answer,) = get("/checkpoint")
    with engine.connect() as conn:
        known = tree.identity(conn)
    assert known is not None
    assert known.public_key == signer().public
    assert base64.b64decode(str(known.key).split("+", 2)[2])[1:] == known.public_key
    assert Checkpoint.opened(answer.content, known.key).size == 0
