"""Works that read: pages, cached and not, at the head and as of a position; a claim, filters, search, changes."""

import contextlib
import json
from contextlib import AbstractContextManager
from typing import Any

from benchmarks import ours, peers
from benchmarks.bench import Bench
from benchmarks.clients import Asking, Http, answer, get, post
from benchmarks.generator import STATEMENTS, STATEMENTS_A_CLAIM
from benchmarks.measure import Budget, Missing, Pair, Round
from benchmarks.peers import raw
from benchmarks.server import Database

_REQUESTS = "requests/s"


def rows_of(page: bytes) -> list[tuple[Any, ...]]:
    """What a page over HTTP says, whoever answered it, for comparison with the raw rows."""
    (claims,) = json.loads(page)["data"].values()
    rows: list[tuple[Any, ...]] = []
    for claim in _nodes(claims):
        believed = claim.get("belief", claim)
        said = _nodes(claim.get("statements", claim.get("statementsByClaim")))
        rows.append(
            (
                *(claim["slug"], claim["proposition"], int(claim["firstPosition"])),
                *(believed["state"].lower(), believed["reason"]),
                *(believed[name] for name in ("asserting", "denying", "withholding", "contested")),
                tuple((one["stance"].lower(), one["name"], one["quote"], int(one["position"])) for one in said),
            )
        )
    return rows


def _nodes(connection: Any) -> list[dict[str, Any]]:
    return connection["nodes"] if isinstance(connection, dict) else connection


def _checked(asking: Asking, wanted: list[tuple[Any, ...]]) -> Asking:
    """The same, once its answer holds the same rows as everybody else's."""
    if rows_of(answer(asking)) != wanted:
        raise AssertionError(f"{asking.bodies[0][:60]!r} answers with other rows")
    return asking


def page(bench: Bench) -> None:
    """The page of 100 claims x 10 fields x 5 statements, by everybody who can answer it."""
    port, schema = bench.service.port, ours.schema_of_live(bench.filled)
    with raw.connect(bench.filled.conninfo()) as conn:
        wanted = raw.rows_of(raw.page(conn, 0))
    unknown = _checked(questions(port, bench.filled)["page"], wanted)
    known = _checked(Asking(port, (ours.asking(ours.PAGE, after=0),)), wanted)
    psycopg = raw.Page(bench.filled.conninfo(), unknown.distinct)
    measures: dict[str, Round | Missing] = {}
    pairs: list[Pair] = []
    work = "page of 100 claims over HTTP"
    with contextlib.ExitStack() as stack:

        def peer(start: AbstractContextManager[int], query: str) -> Asking | Missing:
            try:
                return _checked(Asking(stack.enter_context(start), (ours.asking(query),)), wanted)
            except Missing as missing:
                return missing

        log = bench.folder / "peers.log"
        others = {
            "PostGraphile": peer(peers.postgraphile(bench.filled, schema, log), peers.POSTGRAPHILE_PAGE),
            "stock Strawberry, ORM": peer(peers.strawberry(bench.filled, schema, log), peers.STRAWBERRY_PAGE),
        }
        for clients in (1, 8):
            by = f"{clients} client{'s' if clients > 1 else ''}"
            mine, cached = f"ours, {by}", f"ours, answer known, {by}"
            measures[mine], measures[cached] = bench.ask(unknown, clients), bench.ask(known, clients)
            alone = f"raw psycopg, same snapshot, no HTTP, {by}"
            measures[alone] = bench.ask(psycopg, clients)
            pairs.append((f"{work}, {by}", mine, alone, Budget("within", 2.5)))
            for name, asking in others.items():
                theirs = f"{name}, {by}"
                measures[theirs] = asking if isinstance(asking, Missing) else bench.ask(asking, clients)
                graphile = name == "PostGraphile"
                pairs += [
                    (f"{work}, {by}", mine, theirs, Budget("at least", 1.5) if graphile else None),
                    (f"{work}, answer known, {by}", cached, theirs, Budget("at least", 20) if graphile else None),
                ]
        measures["304"] = _not_modified(bench, port)
        not_known = "ours, 8 clients"
        pairs += [
            (f"{work}, answer known, 8 clients", "ours, answer known, 8 clients", not_known, Budget("at least", 15)),
            (f"{work}, 304 to If-None-Match, 8 clients", "304", not_known, None),
        ]
        bench.compare(_REQUESTS, measures, pairs)


def _not_modified(bench: Bench, port: int) -> Round | Missing:
    body = ours.asking(ours.PAGE, after=0)
    with Http(port) as connection:
        head, _ = connection.send(get(body))
    _, found, tag = head.partition(b"\r\netag: ")
    if not found:
        return Missing("the answer has no ETag")
    etag = tag.partition(b"\r\n")[0].decode()
    return bench.ask(Asking(port, (body,), headers=f"If-None-Match: {etag}\r\n", status=b"304", written=get), 8)


def as_of(bench: Bench) -> None:
    """The same page in the middle of the log, and at the head."""
    asked = questions(bench.service.port, bench.filled)
    with raw.connect(bench.filled.conninfo()) as conn:
        _checked(asked["as of"], raw.rows_of(raw.page(conn, 0, ours.head(bench.filled) // 2)))
    name = "the page at the head, 1 client"
    bench.compare(
        _REQUESTS,
        {"as of": bench.ask(asked["as of"], 1), name: bench.ask(asked["page"], 1)},
        [("page as of a position, 1 client", "as of", name, Budget("within", 1.75))],
    )


def lists(bench: Bench) -> None:
    """What else is asked for, each beside the page of 100 claims at the head, by one client."""
    asked = questions(bench.service.port, bench.filled)
    head = "the page at the head, 1 client"
    measures: dict[str, Round | Missing] = {name: bench.ask(asking, 1) for name, asking in asked.items()}
    measures[head] = measures.pop("page")
    measures.pop("as of")
    bench.compare(_REQUESTS, measures, [(f"{name}, 1 client", name, head, None) for name in measures if name != head])


def questions(port: int, database: Database) -> dict[str, Asking]:
    """Requests of every kind to a service on a database, none of them the same one twice."""
    with raw.connect(database.conninfo()) as conn:
        head, before = raw.before_page(conn)
        middle, before_middle = raw.before_page(conn, head // 2)
    distinct, claims = before + 1, head * STATEMENTS // STATEMENTS_A_CLAIM // 2
    topics = [f"topic-{number}" for number in range(40)]
    commons = ("kalenlo", "kakasun", "kakadra")
    return {
        "page": Asking(port, (ours.asking(ours.PAGE, after="%d"),), distinct),
        "as of": Asking(port, (ours.asking(ours.PAGE_AS_OF, after="%d", position=middle),), before_middle + 1),
        "one claim with its history": Asking(port, (ours.asking(ours.CLAIM, slug="claim-%d"),), claims),
        "filter by state, topic, contested": Asking(
            port, tuple(ours.asking(ours.FILTERED, topic=topic, after="%d") for topic in topics), head
        ),
        "25 claims with totalCount and byState": Asking(
            port, (ours.asking(ours.COUNTED, position="%e"),), head // 2, head - head // 2
        ),
        "search, a rare word": Asking(port, (ours.asking(ours.SEARCH, text="claim %d", after=0),), claims),
        "search, a common word": Asking(
            port, tuple(ours.asking(ours.SEARCH, text=word, after="%d") for word in commons), distinct
        ),
        "a deep page": Asking(port, _deep(port)),
        "changes between two positions": Asking(
            port, (ours.asking(ours.CHANGES, **{"from": "%d", "to": "%e"}),), distinct, 200
        ),
    }


def _deep(port: int, *, pages_max: int = 200) -> tuple[bytes, ...]:
    """Pages of the second half of the list of all claims, or of what lies before page 200."""
    cursors, after = list[str](), None
    with Http(port) as connection:
        while len(cursors) < pages_max:
            listed = json.loads(connection.send(post(ours.asking(ours.CURSORS, after=after)))[1])
            told = listed["data"]["claims"]["pageInfo"]
            if not told["hasNextPage"]:
                break
            cursors.append(after := told["endCursor"])
    far = cursors[len(cursors) // 2 :]
    return tuple(ours.asking(ours.DEEP, first=first, after=cursor) for first in range(100, 80, -1) for cursor in far)


WORKS = {"page": page, "as-of": as_of, "lists": lists}
