"""What was believed then: `asOf` on both of its times, and every answer equal to one worked out from the log alone."""

import random
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from service.api.schema import schema
from service.domain import events, moment
from service.domain.article import Article
from service.domain.events import Event, PolicyAdopted
from service.domain.policies import NAMES, State, Verdict, policy
from service.queries import claims as stored_claims
from tests import curated as building
from tests.api import Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.builders import article, asserts, denies, retraction, withholds
from tests.curated import MOMENTS, adopted, merged, related, ruled, same_speaker
from tests.model import Record, Step, Then, text
from tests.test_projector import some_log as plain_log

AsOf = tuple[int, str | None]

POLICIES = (*NAMES, "unanimous:min_speakers=2", "corroborated:hedge_ratio=1")
TRANSITION = """policy position from to reason effectiveAt retroactive slug
    moves(first: 100) { nodes { speaker { slug } from { id countsAs } to { id countsAs } } }"""
STATEMENT = "id stance countsAs live standing position ordinal effectiveAt claim { id slug } speaker { id slug }"
UNDER_EACH = "\n".join(
    f"""b{i}: belief(policy: "{name}") {{ state reason policy asserting denying withholding contested singleSpeaker
            unruled {{ state reason }} since {{ {TRANSITION} }} because(first: 100) {{ nodes {{ id }} }} }}
        r{i}: history(policy: "{name}", axis: RECORDED, first: 100) {{ nodes {{ {TRANSITION} }} }}
        s{i}: history(policy: "{name}", axis: SAID, first: 100) {{ nodes {{ {TRANSITION} }} }}"""
    for i, name in enumerate(POLICIES)
)
CLAIM = f"""id slug alsoKnownAs topic {{ slug }} belief {{ policy }} {UNDER_EACH}
    relations {{ relation position claim {{ slug }} to {{ slug }} }}
    statements(first: 100) {{ nodes {{ {STATEMENT} }} }}
    standing: statements(standing: true, first: 100) {{ nodes {{ id }} }}
    fallen: statements(standing: false, first: 100) {{ nodes {{ id }} }}
    dead: statements(live: false, first: 100) {{ nodes {{ id }} }}
    asserting: statements(stance: ASSERTS, first: 100) {{ nodes {{ id }} }}
    natos: statements(speaker: "nato", first: 100) {{ nodes {{ id }} }}
    speakers(first: 100) {{ nodes {{ sincePosition speaker {{ slug alsoKnownAs }} statement {{ id }}
        stances(first: 100) {{ nodes {{ id }} }} }} }}
    denying: speakers(stance: DENIES, first: 100) {{ nodes {{ speaker {{ slug }} }} }}"""


def mark(as_of: AsOf) -> str:
    position, said_by = as_of
    return f"@{position}" if said_by is None else f"@{position}~{moment.canonical(said_by)}"


def sent(as_of: AsOf) -> dict[str, Any]:
    position, said_by = as_of
    return {"position": position} if said_by is None else {"position": position, "saidBy": said_by}


def nodes(listed: Iterable[Any]) -> dict[str, Any]:
    return {"nodes": list(listed)}


def slugs(found: dict[str, Any]) -> list[str]:
    return [each["slug"] for each in found["nodes"]]


def verdict(of: Verdict) -> dict[str, str]:
    return {"state": of.state.name, "reason": of.reason.name}


class Expected:
    """What the API must answer at a moment."""

    def __init__(self, record: Record, as_of: AsOf) -> None:
        self.record, self.as_of = record, as_of
        self.position, self.said_by = as_of
        self.then: Then = record.at(*as_of)
        self.mark = mark(as_of)

    def ids(self, said: Sequence[Any]) -> dict[str, Any]:
        return nodes([{"id": each.id + self.mark} for each in said])

    def step(self, claim: str, under: str, step: Step) -> dict[str, Any]:
        def told(each: Any) -> dict[str, Any] | None:
            # A statement tells what it counts as now, wherever it counted when it moved.
            now = None if each is None else next(one for one in self.then.said if one.place == each.place)
            return None if now is None else {"id": now.id + self.mark, "countsAs": now.counts_as.name}

        return {
            "policy": policy(under).id,
            "position": step.position,
            "from": None if step.before is None else step.before.state.name,
            "to": None if step.after is None else step.after.state.name,
            "reason": None if step.after is None else step.after.reason.name,
            "effectiveAt": text(step.effective_at),
            "retroactive": step.retroactive,
            "slug": claim,
            "moves": nodes(
                {"speaker": {"slug": self.then.root("speaker", speaker)[0]}, "from": told(old), "to": told(new)}
                for speaker, old, new in step.moves
            ),
        }

    def said_steps(self, claim: str, under: str) -> list[dict[str, Any]]:
        return [self.step(claim, under, each) for each in self.record.said(claim, under, *self.as_of)]

    def steps(self, claim: str, under: str) -> list[dict[str, Any]]:
        if self.said_by is not None:
            return self.said_steps(claim, under)
        return [self.step(claim, under, each) for each in self.record.recorded(claim, under, self.position)]

    def belief(self, claim: str, under: str) -> dict[str, Any]:
        now, tally = self.then.verdict(claim, under), self.then.tally(claim)
        assert now is not None
        return {
            **verdict(now),
            "policy": policy(under).id,
            "asserting": tally.asserting,
            "denying": tally.denying,
            "withholding": tally.withholding,
            "contested": tally.asserting > 0 and tally.denying > 0,
            "singleSpeaker": tally.asserting + tally.denying == 1,
            "unruled": verdict(policy(under).decide(tally)),
            "since": self.steps(claim, under)[-1],
            "because": self.ids(self.then.because(claim, now.reason.name)),
        }

    def statement(self, said: Any, standing: set[tuple[int, int]]) -> dict[str, Any]:
        return {
            "id": said.id + self.mark,
            "stance": said.stance.name,
            "countsAs": said.counts_as.name,
            "live": said.live,
            "standing": said.place in standing,
            "position": said.position,
            "ordinal": said.ordinal,
            "effectiveAt": text(said.effective_at),
            "claim": {"id": f"Claim:{said.claim}{self.mark}", "slug": said.claim},
            "speaker": {"id": f"Speaker:{said.speaker}{self.mark}", "slug": said.speaker},
        }

    def claim(self, claim: str) -> dict[str, Any]:
        then, stands = self.then, self.then.stands(claim)
        newest = sorted(then.claims[claim], key=lambda each: each.place, reverse=True)
        standing = {each.place for each in stands.values()}
        speakers = sorted(
            (
                (each.position if self.said_by else self.record.since(claim, speaker, self.position), speaker, each)
                for speaker, each in stands.items()
            ),
            key=lambda row: (-row[0], row[1]),
        )
        topic = then.topics.get(claim)
        told: dict[str, Any] = {
            "id": f"Claim:{claim}{self.mark}",
            "slug": claim,
            "alsoKnownAs": then.merged_into("claim", claim),
            "topic": None if topic is None else {"slug": topic},
            "belief": {"policy": then.policy.id},
            "relations": [
                {
                    "relation": each.relation.name,
                    "position": position,
                    "claim": {"slug": then.root("claim", each.claim)[0]},
                    "to": {"slug": then.root("claim", each.to)[0]},
                }
                for position, each in then.relations
                if claim in (roots := [then.root("claim", slug)[0] for slug in (each.claim, each.to)])
                and all(root in then.claims for root in roots)
            ],
            "statements": nodes(self.statement(each, standing) for each in newest),
            "standing": self.ids([each for each in newest if each.place in standing]),
            "fallen": self.ids([each for each in newest if each.place not in standing]),
            "dead": self.ids([each for each in newest if not each.live]),
            "asserting": self.ids([each for each in newest if each.counts_as == "asserts"]),
            "natos": self.ids([each for each in newest if each.speaker == then.root("speaker", "nato")[0]]),
            "speakers": nodes(
                {
                    "sincePosition": since,
                    "speaker": {"slug": speaker, "alsoKnownAs": then.merged_into("speaker", speaker)},
                    "statement": {"id": each.id + self.mark},
                    "stances": self.ids(
                        sorted(
                            (one for one in then.claims[claim] if one.live and one.speaker == speaker),
                            key=lambda one: one.rank,
                        )
                    ),
                }
                for since, speaker, each in speakers
            ),
            "denying": nodes(
                {"speaker": {"slug": speaker}} for _, speaker, each in speakers if each.counts_as == "denies"
            ),
        }
        for i, name in enumerate(POLICIES):
            told |= {
                f"b{i}": self.belief(claim, name),
                f"r{i}": nodes(self.steps(claim, name)),
                f"s{i}": nodes(self.said_steps(claim, name)),
            }
        return told

    def claims(self) -> dict[str, Any]:
        there = sorted(self.then.claims)
        verdicts = [self.then.verdict(claim, self.then.policy.id) for claim in there]
        states = [each.state.name.lower() for each in verdicts if each is not None]
        return {
            "totalCount": len(there),
            "byState": {name: states.count(name) for name in ("asserted", "denied", "unverified")},
            "nodes": [self.claim(claim) for claim in there],
        }


def unordered(value: Any) -> Any:
    """With the lists that have no order as sets."""
    if isinstance(value, dict):
        return {name: set(each) if name == "alsoKnownAs" else unordered(each) for name, each in value.items()}
    return [unordered(each) for each in value] if isinstance(value, list) else value


# --- random logs ------------------------------------------------------------------


def random_log(seed: int, *, steps: int = 30, curated: bool) -> list[Event]:
    """Policies that it adopts are projected ones, so that every list can be counted."""
    if not curated:
        return [events.of_article(each) if isinstance(each, Article) else each for each in plain_log(seed, steps)]
    return [
        adopted("corroborated") if isinstance(each, PolicyAdopted) and ":" in each.policy else each
        for each in building.some_log(random.Random(seed).choice, steps)
    ]


def moments_of(record: Record) -> list[str]:
    """Moments at which something was said, just before them, and some besides."""
    instants = sorted({each.effective_at for each in record.at(len(record.log)).said})
    found = [moment.instant_text(each) for each in instants]
    found += [moment.instant_text(each - timedelta(microseconds=1)) for each in instants]
    return [*found, *MOMENTS, "1000-01-01", "2999-12-31"]


CURATED = [(seed, True) for seed in (1, 2, 3, 4)]
PLAIN = [(seed, False) for seed in (5, 6)]


@pytest.mark.parametrize(("seed", "with_curation"), CURATED + PLAIN)
def test_all_that_is_told_of_claims_at_any_moment_is_worked_out_from_the_log(
    api: Api, seed: int, with_curation: bool
) -> None:
    api.record(*random_log(seed, steps=36, curated=with_curation))
    record = Record([event for _, event in api.recorded()])
    dice = random.Random(seed)
    head, said = len(record.log), moments_of(record)
    query = f"""query ($asOf: AsOf) {{ claims(orderBy: SLUG, first: 100, asOf: $asOf) {{ totalCount
        byState {{ asserted denied unverified }} nodes {{ {CLAIM} }} }} }}"""
    asked: list[AsOf] = [(head, None), (0, None), (0, "2999-12-31")]
    asked += [(dice.randint(1, head), None) for _ in range(3)]
    asked += [(dice.randint(head // 3, head), dice.choice(said)) for _ in range(4)]
    told = 0
    for as_of in asked:
        found = api.ask(query, asOf=sent(as_of))["claims"]
        expected = Expected(record, as_of).claims()
        for one, other in zip(found["nodes"], expected["nodes"], strict=False):
            for name in other:
                assert unordered({name: one[name]}) == unordered({name: other[name]}), (as_of, other["slug"], name)
        assert unordered(found) == unordered(expected), as_of
        told += len(found["nodes"])
    assert told > 10


# --- asking -----------------------------------------------------------------------

#: Every root field that takes `asOf`, with what else it needs.
ROOTS = {
    "claim": 'claim(slug: "gas-cut", asOf: $asOf) { id }',
    "claims": "claims(asOf: $asOf) { totalCount nodes { id } }",
    "topics": "topics(asOf: $asOf) { nodes { slug } }",
    "outlet": 'outlet(slug: "daily-planet", asOf: $asOf) { id }',
    "outlets": "outlets(asOf: $asOf) { nodes { id } }",
    "speaker": 'speaker(slug: "nato", asOf: $asOf) { id }',
    "speakers": "speakers(asOf: $asOf) { nodes { id } }",
    "article": 'article(url: "https://example.org/a", asOf: $asOf) { id }',
    "articles": "articles(asOf: $asOf) { nodes { id } }",
    "event": "event(position: 1, asOf: $asOf) { id }",
    "events": "events(asOf: $asOf) { nodes { id } }",
    "changes": "changes(from: 0, asOf: $asOf) { nodes { slug } }",
    "policies": "policies(asOf: $asOf) { id }",
}
EACH = "query ($asOf: AsOf) {{ {} }}"


def test_these_are_all_the_root_fields_that_take_a_moment() -> None:
    fields = schema._schema.query_type.fields  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
    assert {name for name, field in fields.items() if "asOf" in field.args} == ROOTS.keys()
    # Nothing else is of the past: an id says itself of when it is, and a replay up to where.
    assert fields.keys() - ROOTS.keys() == {"log", "node", "nodes", "replay"}


@pytest.fixture
def short(api: Api) -> Api:
    """Two articles, and a third that withdraws the first."""
    api.record(article("a", nato=asserts("gas-cut")), article("b", kremlin=denies("gas-cut")), retraction("a"))
    return api


@pytest.mark.parametrize("name", ROOTS)
def test_every_field_refuses_a_moment_that_cannot_be(short: Api, name: str) -> None:
    query = EACH.format(ROOTS[name])
    assert "errors" not in short.answer(query, asOf=None)
    assert "errors" not in short.answer(query, asOf={"position": 3})
    for moment_asked, words in (
        ({"position": 4}, "position 4 is not recorded yet; the last is 3"),
        ({"position": 2**62}, "is not recorded yet"),
        ({"position": 1, "recordedAt": "2022-02-15T00:00:00Z"}, "names both a position and a recording time"),
        ({"saidBy": "yesterday"}, "saidBy is not a moment"),
        ({"saidBy": "2022-02-30"}, "saidBy"),
        ({"saidBy": "2022-02-15T10:00:00"}, "without offset"),
        ({"saidBy": "0999-01-01"}, "year outside"),
        ({"position": 2, "saidBy": ""}, "saidBy"),
    ):
        answer = short.answer(query, asOf=moment_asked)
        (error,) = answer["errors"]
        assert error["extensions"] == {"code": "AS_OF_INVALID"}, (name, moment_asked)
        assert words in error["message"]
    for moment_asked in (
        {"position": -1},
        {"position": 1.5},
        {"recordedAt": "2022-02-15"},
        {"recordedAt": 5},
        {"at": 1},
        3,
    ):
        assert short.codes(query, asOf=moment_asked) == ["BAD_QUERY"], moment_asked
    assert short.codes(query, asOf={"saidBy": "\x00"}) == ["BAD_ARGUMENT"]


@pytest.mark.parametrize("name", ROOTS)
def test_what_is_recorded_and_not_yet_projected_cannot_be_asked_for(short: Api, name: str) -> None:
    short.append(article("d", nato=asserts("gas-cut")))
    ((code, message),) = short.errors(EACH.format(ROOTS[name]), asOf={"position": 4})
    assert (code, message) == ("NOT_YET_PROJECTED", "position 4 is not projected yet, 3 is; ask again in a moment")


def test_one_refused_moment_leaves_the_other_fields_answered(short: Api) -> None:
    answer = short.answer("""{ a: claim(slug: "gas-cut", asOf: {position: 9}) { slug }
        b: claim(slug: "gas-cut", asOf: {position: 1}) { slug } }""")
    assert answer["data"] == {"a": None, "b": {"slug": "gas-cut"}}
    assert [each["path"] for each in answer["errors"]] == [["a"]]


def test_three_moments_can_be_asked_for_at_once_and_each_holds_for_all_below_it(short: Api) -> None:
    below = """{ id belief { state reason asserting since { position event { id } claim { id } }
            because { nodes { id } } }
        statements { nodes { id live standing article { id live }
            speaker { id statements { nodes { id live } } } } } }"""
    found = short.ask(f"""{{ one: claim(slug: "gas-cut", asOf: {{position: 1}}) {below}
        two: claim(slug: "gas-cut", asOf: {{position: 2}}) {below} now: claim(slug: "gas-cut") {below} }}""")

    def statement(place: str, speaker: str, at: str, live: bool) -> dict[str, Any]:
        said = {"id": f"Statement:{place}{at}", "live": live}
        by = {"id": f"Speaker:{speaker}{at}", "statements": nodes([said])}
        of = {"id": f"Article:{place[0]}{at}", "live": live}
        return {**said, "standing": live, "article": of, "speaker": by}

    assert found["one"] == {
        "id": "Claim:gas-cut@1",
        "belief": {
            "state": "ASSERTED",
            "reason": "UNCONTRADICTED",
            "asserting": 1,
            "since": {"position": 1, "event": {"id": "Event:1@1"}, "claim": {"id": "Claim:gas-cut@1"}},
            "because": nodes([{"id": "Statement:1.0@1"}]),
        },
        "statements": nodes([statement("1.0", "nato", "@1", True)]),
    }
    assert found["two"]["belief"] == {
        "state": "UNVERIFIED",
        "reason": "CONFLICT",
        "asserting": 1,
        "since": {"position": 2, "event": {"id": "Event:2@2"}, "claim": {"id": "Claim:gas-cut@2"}},
        "because": nodes([{"id": "Statement:2.0@2"}, {"id": "Statement:1.0@2"}]),
    }
    assert found["now"] == {
        "id": "Claim:gas-cut",
        "belief": {
            "state": "DENIED",
            "reason": "UNCONTRADICTED",
            "asserting": 0,
            "since": {"position": 3, "event": {"id": "Event:3"}, "claim": {"id": "Claim:gas-cut"}},
            "because": nodes([{"id": "Statement:2.0"}]),
        },
        "statements": nodes([statement("2.0", "kremlin", "", True), statement("1.0", "nato", "", False)]),
    }


def test_nothing_is_there_before_it_was_recorded(short: Api) -> None:
    found = short.ask("query ($asOf: AsOf) { " + " ".join(ROOTS.values()) + " }", asOf={"position": 0})
    assert {name: found[name] for name in ("claim", "outlet", "speaker", "article", "event")} == dict.fromkeys(
        ("claim", "outlet", "speaker", "article", "event")
    )
    assert found["claims"] == {"totalCount": 0, "nodes": []}
    for name in ("topics", "outlets", "speakers", "articles", "events", "changes"):
        assert found[name] == nodes([]), name


def test_a_recording_time_means_the_last_position_recorded_by_then(short: Api) -> None:
    times = [each["recordedAt"] for each in short.ask("{ events { nodes { recordedAt } } }")["events"]["nodes"]]
    query = 'query ($at: DateTime) { claim(slug: "gas-cut", asOf: {recordedAt: $at}) { id belief { state } } }'
    states = ["ASSERTED", "UNVERIFIED", "DENIED"]
    for position, (at, state) in enumerate(zip(times, states, strict=True), 1):
        assert short.ask(query, at=at)["claim"] == {"id": f"Claim:gas-cut@{position}", "belief": {"state": state}}
        instant = moment.end(moment.canonical(at))
        before = moment.instant_text(instant - timedelta(microseconds=1))
        found = short.ask(query, at=before)["claim"]
        assert (found and found["id"]) == (f"Claim:gas-cut@{position - 1}" if position > 1 else None)
    assert short.ask(query, at="2999-01-01T00:00:00+02:00")["claim"]["id"] == "Claim:gas-cut@3"


def test_an_empty_moment_is_now_and_says_so_in_ids(short: Api) -> None:
    query = EACH.format(ROOTS["claim"])
    assert short.ask(query, asOf={})["claim"] == {"id": "Claim:gas-cut@3"}
    assert short.ask(query, asOf={"position": None, "saidBy": None})["claim"] == {"id": "Claim:gas-cut@3"}
    assert short.ask(query, asOf=None)["claim"] == {"id": "Claim:gas-cut"}


def test_an_answer_wholly_of_one_position_says_that_position_alone(short: Api) -> None:
    def seen(query: str) -> dict[str, Any]:
        return short.answer(query)["extensions"]["log"]

    now = {"position": 3, "head": 3}
    claim = 'claim(slug: "gas-cut", asOf: {{{}}}) {{ slug }}'.format
    assert seen(f"{{ {claim('position: 2')} }}") == {"position": 2}
    assert seen(f"{{ a: {claim('position: 2')} b: {claim('position: 2')} __typename }}") == {"position": 2}
    said = claim('position: 2, saidBy: "2022-02-15"')
    assert seen(f"{{ {said} }}") == {"position": 2}
    assert seen("query ($at: Position = 1) { a: claims(asOf: {position: $at}) { totalCount } }") == {"position": 1}
    assert seen(f"{{ a: {claim('position: 1')} b: {claim('position: 2')} }}") == now
    assert seen(f"{{ a: {claim('position: 1')} log {{ head }} }}") == now
    assert seen(f'{{ a: {claim("position: 1")} node(id: "Event:1@1") {{ id }} }}') == now
    assert seen('{ claims(asOf: {saidBy: "2022-02-15"}) { totalCount } }') == now
    assert seen('{ claims(asOf: {recordedAt: "2222-02-15T00:00:00Z"}) { totalCount } }') == now
    # What is refused today may be answered tomorrow, so it must not be kept for ever.
    assert seen(f"{{ {claim('position: 4')} }}") == now
    short.append(article("d", nato=asserts("gas-cut")))
    assert seen(f"{{ {claim('position: 4')} }}") == {"position": 3, "head": 4}
    assert seen(f"{{ {claim('position: 3')} }}") == {"position": 3}


# --- lists ------------------------------------------------------------------------


def pages(api: Api, query: str, size: int, **variables: Any) -> list[str]:
    """All of a list, page by page; `query` takes $first and $after and names its list `found`."""
    gathered: list[str] = []
    after = None
    while True:
        found = api.ask(query, first=size, after=after, **variables)["found"]
        gathered += [each["slug"] for each in found["nodes"]]
        assert found["pageInfo"]["hasPreviousPage"] is (after is not None)
        if not found["pageInfo"]["hasNextPage"]:
            return gathered
        after = found["pageInfo"]["endCursor"]


LIST = """query ($first: Int, $after: String, $asOf: AsOf, $where: ClaimFilter, $by: ClaimOrder) { found: claims(
    first: $first, after: $after, asOf: $asOf, where: $where, orderBy: $by) { totalCount
    byState { asserted denied unverified } nodes { slug } pageInfo { hasNextPage hasPreviousPage endCursor } } }"""


def filtered(record: Record, as_of: AsOf, where: dict[str, Any], by: str) -> list[str]:
    then = record.at(*as_of)
    under = where.get("policy", then.policy.id)
    rows: list[tuple[Any, str]] = []
    for claim in then.claims:
        now, tally = then.verdict(claim, under), then.tally(claim)
        said = as_of[1] is not None
        since = (record.said(claim, under, *as_of) if said else record.recorded(claim, under, as_of[0]))[-1]
        assert now is not None
        told = {
            "state": now.state.name,
            "topic": then.topics.get(claim),
            "contested": tally.asserting > 0 and tally.denying > 0,
            "singleSpeaker": tally.asserting + tally.denying == 1,
        }
        speaker, outlet = where.get("speaker"), where.get("outlet")
        if (
            all(where.get(name, value) == value for name, value in told.items())
            and (speaker is None or then.root("speaker", speaker)[0] in then.stands(claim))
            and (outlet is None or outlet in {each.outlet for each in then.claims[claim] if each.live})
            and since.position > where.get("changedAfter", 0)
        ):
            rows.append((since.effective_at if said else since.position, claim))
    rows.sort(key=lambda row: row[1])
    if by == "NEWEST":
        rows.sort(key=lambda row: row[0], reverse=True)
    return [claim for _, claim in rows]


@pytest.mark.parametrize(("seed", "with_curation"), [(11, True), (12, True), (13, False)])
def test_lists_of_any_moment_are_filtered_ordered_counted_and_paged(api: Api, seed: int, with_curation: bool) -> None:
    api.record(*random_log(seed, steps=40, curated=with_curation))
    record = Record([event for _, event in api.recorded()])
    dice, head, said = random.Random(seed), len(record.log), moments_of(record)
    some = {
        "state": ["ASSERTED", "DENIED", "UNVERIFIED"],
        "policy": list(NAMES),
        "speaker": ["nato", "kremlin", "russia", "uk", "outlet:bbc", "outlet:itv-news", "nobody"],
        "outlet": ["bbc", "itv", "daily-planet", "itv-news", "nobody"],
        "contested": [True, False],
        "singleSpeaker": [True, False],
        "changedAfter": list(range(head)),
        "topic": ["troops", "none"],
    }
    let_through = 0
    for _ in range(40):
        as_of = (dice.randint(head // 3, head), dice.choice((None, *dice.sample(said, 3))))
        where = {name: dice.choice(some[name]) for name in dice.sample(list(some), dice.randint(0, 2))}
        by = dice.choice(("NEWEST", "SLUG"))
        expected = filtered(record, as_of, where, by)
        asked = {"asOf": sent(as_of), "where": where, "by": by}
        found = api.ask(LIST, first=100, **asked)["found"]
        assert slugs(found) == expected, (as_of, where, by)
        assert found["totalCount"] == sum(found["byState"].values()) == len(expected)
        assert pages(api, LIST, dice.randint(1, 2), **asked) == expected
        let_through += len(expected)
    assert let_through > 20


def test_a_page_of_a_moment_goes_on_in_that_moment(seeded: Api) -> None:
    asked = {"asOf": {"position": 3, "saidBy": "2022-02-15"}, "where": {"contested": False}, "by": "NEWEST"}
    whole = slugs(seeded.ask(LIST, first=100, **asked)["found"])
    first = seeded.ask(LIST, first=1, **asked)["found"]
    seeded.record(article("late", published="2022-02-01", nato=withholds("before-all")))
    after = first["pageInfo"]["endCursor"]
    assert slugs(first) + slugs(seeded.ask(LIST, first=100, after=after, **asked)["found"]) == whole
    assert len(whole) > 1
    # Of another moment, it is a cursor of another list.
    for other in (
        {"position": 3},
        {"position": 3, "saidBy": "2022-02-14"},
        {"position": 2, "saidBy": "2022-02-15"},
        None,
    ):
        assert seeded.codes(LIST, after=after, **{**asked, "asOf": other}) == ["BAD_CURSOR"], other


def test_two_words_a_microsecond_apart_are_two_steps_of_a_list_and_of_a_history(api: Api) -> None:
    """To the microsecond, in every year: a key that rounds would lose one of them between two pages."""
    said = [f"2999-12-30T23:59:59.99999{digit}Z" for digit in range(3, 10)]
    stances = [asserts, denies] * 4
    api.record(
        *(article(f"n-{i}", published=at, nato=stances[i]("all"), uk=asserts(f"c-{i}")) for i, at in enumerate(said))
    )
    found = pages(api, LIST, 1, asOf={"saidBy": "2999-12-31"}, by="NEWEST")
    assert [each for each in found if each != "all"] == [f"c-{i}" for i in reversed(range(7))]
    query = """query ($first: Int, $after: String) { claim(slug: "all") { found: history(axis: SAID, first: $first,
        after: $after) { nodes { slug: effectiveAt } pageInfo { hasNextPage hasPreviousPage endCursor } } } }"""
    gathered: list[str] = []
    after = None
    for _ in said:
        page = api.ask(query, first=1, after=after)["claim"]["found"]
        gathered += [each["slug"] for each in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert gathered == said


def test_a_list_that_would_fold_too_much_is_refused(seeded: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_claims, "FOLDED_MAX", 10)
    query = (
        "query ($asOf: AsOf, $where: ClaimFilter) { claims(asOf: $asOf, where: $where) { totalCount nodes { slug } } }"
    )
    said = {"saidBy": "2022-02-16"}
    codes = seeded.codes(query, asOf=said)
    assert set(codes) == {"TOO_BROAD"}
    ((_, message), *_) = seeded.errors(query, asOf=said)
    assert message == "11 claims would have to be folded for this, and 10 may be; filter by more"
    # What no policy decides on is filtered before anything is folded.
    assert seeded.ask(query, asOf=said, where={"topic": "diplomacy"})["claims"]["totalCount"] > 0
    assert seeded.codes(query, asOf=said, where={"state": "DENIED"})[0] == "TOO_BROAD"
    # As of a position nothing is folded.
    assert seeded.ask(query, asOf={"position": 5})["claims"]["totalCount"] == 24


def test_any_policy_can_filter_what_was_said_by_a_moment(seeded: Api) -> None:
    """There nothing is projected, so everything is folded; a list of a position reads what is projected."""
    where = {"policy": "unanimous:min_speakers=2", "state": "ASSERTED"}
    query = (
        "query ($asOf: AsOf, $where: ClaimFilter) { claims(asOf: $asOf, where: $where) { totalCount nodes { slug } } }"
    )
    found = seeded.ask(query, asOf={"saidBy": "2022-02-16"}, where=where)["claims"]
    record = Record([event for _, event in seeded.recorded()])
    assert set(slugs(found)) == set(filtered(record, (5, "2022-02-16"), where, "SLUG"))
    assert 0 < found["totalCount"] < 24
    assert set(seeded.codes(query, asOf={"position": 5}, where=where)) == {"POLICY_NOT_PROJECTED"}


def test_search_finds_what_was_known_and_said_then(api: Api) -> None:
    api.record(
        article("a", published="2022-02-16", nato=asserts("gas-cut", quote="the valves are shut")),
        article("a", published="2022-02-16", revision=2, nato=asserts("gas-cut", quote="the pipes are empty")),
        article("b", published="2022-02-10", uk=denies("gas-cut", quote="they are open")),
        retraction("a"),
    )
    query = "query ($asOf: AsOf, $text: String) { claims(asOf: $asOf, where: {text: $text}) { totalCount } }"

    def found(words: str, as_of: dict[str, Any]) -> bool:
        return api.ask(query, asOf=as_of, text=words)["claims"]["totalCount"] == 1

    assert [found("valves", {"position": at}) for at in range(5)] == [False, True, False, False, False]
    assert [found("pipes", {"position": at}) for at in range(5)] == [False, False, True, True, False]
    assert [found("open", {"position": at}) for at in range(5)] == [False, False, False, True, True]
    # A wording is a name, not evidence: it was there from the first.
    assert [found("gas", {"position": at}) for at in range(5)] == [False, True, True, True, True]
    for at, pipes, opened in ((2, False, False), (3, False, True), (4, False, True)):
        then = {"position": at, "saidBy": "2022-02-15"}
        assert (found("pipes", then), found("open", then)) == (pipes, opened)
    assert found("pipes", {"position": 3, "saidBy": "2022-02-16"})


@pytest.mark.parametrize(("seed", "with_curation"), [(21, True), (22, True), (23, False)])
def test_articles_speakers_and_topics_of_any_moment(api: Api, seed: int, with_curation: bool) -> None:
    """Who spoke, and what articles speak of: a claim is in an article's list while a statement of it is known."""
    api.record(*random_log(seed, steps=30, curated=with_curation))
    record = Record([event for _, event in api.recorded()])
    dice, head, said = random.Random(seed), len(record.log), moments_of(record)
    query = """query ($asOf: AsOf) {
        speakers(first: 100, asOf: $asOf) { nodes { slug alsoKnownAs statements(first: 100) { nodes { id } }
            standing: statements(standing: true, first: 100) { nodes { id } } stances(first: 100) { nodes { id } } } }
        articles(first: 100, asOf: $asOf) { nodes { position live
            claims(first: 100) { totalCount byState { asserted denied unverified } nodes { slug } }
            statements(first: 100) { nodes { id countsAs } } } } }"""
    for as_of in [
        (head, None),
        *((dice.randint(head // 2, head), dice.choice((None, *dice.sample(said, 2)))) for _ in range(6)),
    ]:
        expected = Expected(record, as_of)
        then, at = expected.then, expected.mark
        found = api.ask(query, asOf=sent(as_of))
        by_speaker: dict[str, list[Any]] = {}
        for each in sorted(then.said, key=lambda each: each.place, reverse=True):
            by_speaker.setdefault(each.speaker, []).append(each)
        standing = {each.place for claim in then.claims for each in then.stands(claim).values()}
        told = {each["slug"]: each for each in found["speakers"]["nodes"]}
        assert told.keys() == by_speaker.keys()
        for speaker, of in by_speaker.items():
            assert set(told[speaker]["alsoKnownAs"]) == then.merged_into("speaker", speaker)
            assert told[speaker]["statements"] == expected.ids(of)
            assert told[speaker]["standing"] == expected.ids([each for each in of if each.place in standing])
            live = sorted((each for each in of if each.live), key=lambda each: each.rank)
            assert told[speaker]["stances"] == expected.ids(live)
        for each in found["articles"]["nodes"]:
            of = sorted((one for one in then.said if one.position == each["position"]), key=lambda one: one.ordinal)
            assert each["statements"]["nodes"] == [{"id": one.id + at, "countsAs": one.counts_as.name} for one in of]
            claims = list(dict.fromkeys(one.claim for one in of))
            assert slugs(each["claims"]) == claims, (as_of, each["position"])
            assert each["claims"]["totalCount"] == sum(each["claims"]["byState"].values()) == len(claims)


def test_an_articles_claims_are_those_it_spoke_of_by_then(api: Api) -> None:
    """Another article that spoke of the claim earlier does not put the words into this one's mouth."""
    api.record(article("a", published="2022-02-10", nato=asserts("gas-cut")))
    api.record(article("b", published="2022-02-20", uk=denies("gas-cut")))
    query = """{ articles(asOf: {saidBy: "2022-02-15"}) { nodes { position claims { totalCount nodes { slug } }
        statements { nodes { id } } } } }"""
    b, a = api.ask(query)["articles"]["nodes"]
    assert b == {"position": 2, "claims": {"totalCount": 0, "nodes": []}, "statements": nodes([])}
    assert a["claims"] == {"totalCount": 1, "nodes": [{"slug": "gas-cut"}]}


# --- what saidBy leaves out ---------------------------------------------------------


def test_a_retraction_counts_whatever_was_said_when(short: Api) -> None:
    query = 'query ($asOf: AsOf) { claim(slug: "gas-cut", asOf: $asOf) { belief { state reason } } }'
    found = [
        short.ask(query, asOf={"position": position, "saidBy": "2022-02-15"})["claim"]["belief"]
        for position in (1, 2, 3)
    ]
    assert [each["state"] for each in found] == ["ASSERTED", "UNVERIFIED", "DENIED"]


def test_a_claim_of_which_all_is_retracted_still_exists_from_when_it_was_said(api: Api) -> None:
    api.record(article("a", published="2022-02-15", nato=asserts("gas-cut")), retraction("a"))
    query = """query ($by: Moment) { claim(slug: "gas-cut", asOf: {saidBy: $by}) { belief { reason } }
        claims(asOf: {saidBy: $by}) { totalCount } }"""
    assert api.ask(query, by="2022-02-14") == {"claim": None, "claims": {"totalCount": 0}}
    found = api.ask(query, by="2022-02-15")
    assert found == {"claim": {"belief": {"reason": "RETRACTED"}}, "claims": {"totalCount": 1}}


def test_a_bare_date_is_its_end_and_an_instant_is_itself(api: Api) -> None:
    api.record(article("a", published="2022-02-15T12:00:00Z", nato=asserts("gas-cut")))
    query = 'query ($by: Moment) { claim(slug: "gas-cut", asOf: {saidBy: $by}) { id } }'
    assert api.ask(query, by="2022-02-15T11:59:59.999999Z")["claim"] is None
    assert api.ask(query, by="2022-02-15T13:00:00+01:00")["claim"] == {"id": "Claim:gas-cut@1~2022-02-15T12:00:00Z"}
    assert api.ask(query, by="2022-02-15")["claim"] == {"id": "Claim:gas-cut@1~2022-02-15"}


def test_rulings_were_not_said(api: Api) -> None:
    api.record(article("a", nato=asserts("gas-cut")), ruled("gas-cut", State.DENIED))
    query = """query ($asOf: AsOf) { claim(slug: "gas-cut", asOf: $asOf) {
        belief { state reason unruled { state reason } } } }"""
    alone = {"state": "ASSERTED", "reason": "UNCONTRADICTED"}
    assert api.ask(query, asOf={})["claim"]["belief"] == {"state": "DENIED", "reason": "RULED", "unruled": alone}
    assert api.ask(query, asOf={"saidBy": "2022-02-15"})["claim"]["belief"] == {**alone, "unruled": alone}


def test_a_relation_to_a_claim_that_nobody_had_spoken_of_is_not_there(api: Api) -> None:
    api.record(
        article("a", published="2022-02-10", nato=asserts("gas-cut")),
        article("b", published="2022-02-20", nato=asserts("gas-cut-off")),
        related("gas-cut-off", "gas-cut"),
    )
    query = """query ($asOf: AsOf) { claim(slug: "gas-cut", asOf: $asOf) {
        relations { relation reason position claim { slug } to { slug } } } }"""
    told = [
        {
            "relation": "REFINES",
            "reason": building.REASON,
            "position": 3,
            "claim": {"slug": "gas-cut-off"},
            "to": {"slug": "gas-cut"},
        }
    ]
    assert api.ask(query, asOf={"position": 3})["claim"]["relations"] == told
    assert api.ask(query, asOf={"saidBy": "2022-02-20"})["claim"]["relations"] == told
    assert api.ask(query, asOf={"saidBy": "2022-02-19"})["claim"]["relations"] == []
    assert api.ask(query, asOf={"position": 2})["claim"]["relations"] == []


def test_what_an_event_changed_is_of_the_log_and_cannot_be_had_by_what_was_said(short: Api) -> None:
    query = "query ($asOf: AsOf) { event(position: 1, asOf: $asOf) { transitions { nodes { claim { slug } } } } }"
    assert short.ask(query, asOf={"position": 2})["event"]["transitions"] == nodes([{"claim": {"slug": "gas-cut"}}])
    assert short.codes(query, asOf={"saidBy": "2022-02-14"}) == ["BAD_ARGUMENT"]


# --- ids --------------------------------------------------------------------------


def gathered(value: Any, name: str = "id") -> list[str]:
    """Every id in an answer."""
    if isinstance(value, dict):
        return [each for key, of in value.items() for each in ([of] if key == name else gathered(of, name))]
    return [each for of in value for each in gathered(of, name)] if isinstance(value, list) else []


BELOW = """... on Claim { belief { state reason because { nodes { id } } since { event { id } claim { id } } }
    statements(first: 3) { nodes { id live standing speaker { id name } article { id outlet { id } } } }
    speakers(first: 2) { nodes { statement { id } speaker { id } } }
    history { nodes { moves { nodes { speaker { id } from { id } to { id } } } } } }"""


@pytest.mark.parametrize("as_of", [{"position": 2}, {"position": 4, "saidBy": "2022-02-14"}, {"saidBy": "2022-02-15"}])
def test_ids_carry_their_moment_and_lead_back_to_it(seeded: Api, as_of: dict[str, Any]) -> None:
    found = seeded.ask(
        f"query ($asOf: AsOf) {{ claims(first: 3, asOf: $asOf) {{ nodes {{ id {BELOW} }} }} "
        "events(first: 2, asOf: $asOf) { nodes { id article { id } } } }",
        asOf=as_of,
    )
    at = mark((as_of.get("position", 5), as_of.get("saidBy")))
    given = list(dict.fromkeys(gathered(found)))
    assert {each.partition(":")[0] for each in given} == {"Claim", "Statement", "Speaker", "Article", "Outlet", "Event"}
    assert all(each.endswith(at) for each in given)
    led = [
        each
        for start in range(0, len(given), 100)
        for each in seeded.ask(
            "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", ids=given[start : start + 100]
        )["nodes"]
    ]
    assert led == [{"__typename": each.partition(":")[0], "id": each} for each in given]
    # And on from there nothing leaves the moment.
    for claim in found["claims"]["nodes"]:
        query = f"query ($id: ID!) {{ node(id: $id) {{ id {BELOW} }} }}"
        assert seeded.ask(query, id=claim["id"])["node"] == claim


def test_the_same_claim_at_two_moments_is_two_things_to_nodes(seeded: Api) -> None:
    ids = ["Claim:troops-withdrawing@1", "Claim:troops-withdrawing", "Claim:troops-withdrawing@4", "Claim:nothing@1"]
    ids += ["Claim:preparing-invasion@0", "Claim:troops-withdrawing@5~2022-02-14", "Statement:5.0@4", "Event:5@5"]
    query = "query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on Claim { belief { state } } } }"
    assert seeded.ask(query, ids=ids)["nodes"] == [
        {"id": ids[0], "belief": {"state": "ASSERTED"}},
        {"id": ids[1], "belief": {"state": "UNVERIFIED"}},
        {"id": ids[2], "belief": {"state": "ASSERTED"}},
        *(None, None),
        # Nobody had spoken of it then.
        None,
        None,
        {"id": "Event:5@5"},
    ]


@pytest.mark.parametrize(
    ("at", "code"),
    [
        *((at, "BAD_ARGUMENT") for at in ("", "x", "-1", "01", "1.0", "~2022-02-15", "1~", "1 ", "1@1")),
        # Not as any answer writes it.
        ("1~2022-02-15T01:00:00+01:00", "BAD_ARGUMENT"),
        ("1~2022-02-15T01:00:00.0Z", "BAD_ARGUMENT"),
        *((at, "AS_OF_INVALID") for at in ("6", "99", "1~yesterday", "1~2022-02-30", "1~2022-02-15~")),
    ],
)
def test_an_id_of_a_moment_that_no_answer_gave_is_refused(seeded: Api, at: str, code: str) -> None:
    query = "query ($id: ID!) { node(id: $id) { id } }"
    assert seeded.ask(query, id="Claim:troops-withdrawing@1")["node"] is not None
    assert seeded.codes(query, id=f"Claim:troops-withdrawing@{at}") == [code]


def test_of_a_merged_claim_an_id_leads_to_the_survivor_and_of_before_to_itself(api: Api) -> None:
    api.record(article("a", nato=asserts("gas-cut")), article("b", uk=denies("gas-off")), merged("gas-off", "gas-cut"))
    api.record(same_speaker("uk", "nato"))
    ids = ["Claim:gas-off@2", "Claim:gas-off@3", "Claim:gas-off", "Speaker:uk@3", "Speaker:uk@4", "Speaker:uk"]
    found = api.ask("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=ids)["nodes"]
    expected = ["Claim:gas-off@2", "Claim:gas-cut@3", "Claim:gas-cut", "Speaker:uk@3", "Speaker:nato@4", "Speaker:nato"]
    assert [each["id"] for each in found] == expected
