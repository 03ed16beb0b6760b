"""What changed between two positions, with what decided; equal to one worked out from the log alone."""

import random
from typing import Any

import pytest

from service.domain.events import ArticleRetracted
from service.domain.policies import State, Verdict, policy
from service.queries import beliefs as stored_beliefs
from tests.api import SEEDS, Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.builders import article, asserts, denies, retraction
from tests.curated import adopted, lifted, merged, ruled, undone
from tests.model import Record
from tests.test_api_as_of import POLICIES, random_log

QUERY = """query ($from: Position!, $to: Position, $policy: ID, $first: Int, $after: String, $asOf: AsOf) {
    changes(from: $from, to: $to, policy: $policy, first: $first, after: $after, asOf: $asOf) {
        nodes { slug claim { slug } before { state reason policy asserting denying withholding }
            after { state reason policy asserting denying withholding }
            transitions(first: 100) { nodes { position from to reason } } }
        pageInfo { hasNextPage endCursor } } }"""


def changed(api: Api, start: int, to: int | None = None, **variables: Any) -> list[dict[str, Any]]:
    return api.ask(QUERY, **{"from": start, "to": to, "first": 100, **variables})["changes"]["nodes"]


def expected(record: Record, start: int, to: int, under: str) -> list[dict[str, Any]]:
    old, new, now = record.at(start), record.at(to), record.at(len(record.log))

    def belief(then: Any, claim: str, of: Verdict | None) -> dict[str, Any] | None:
        if of is None:
            return None
        asserting, denying, withholding, *_ = then.tally(claim)
        counts = {"asserting": asserting, "denying": denying, "withholding": withholding}
        return {"state": of.state.name, "reason": of.reason.name, "policy": policy(under).id, **counts}

    return [
        {
            "slug": claim,
            "claim": {"slug": now.root("claim", claim)[0]},
            "before": belief(old, claim, was),
            "after": belief(new, claim, is_),
            "transitions": {
                "nodes": [
                    {
                        "position": each.position,
                        "from": None if each.before is None else each.before.state.name,
                        "to": None if each.after is None else each.after.state.name,
                        "reason": None if each.after is None else each.after.reason.name,
                    }
                    for each in record.recorded(claim, under, to)
                    if each.position > start
                ]
            },
        }
        for claim in sorted(old.claims.keys() | new.claims.keys())
        if (was := old.verdict(claim, under)) != (is_ := new.verdict(claim, under))
    ]


@pytest.mark.parametrize(("seed", "with_curation"), [(31, True), (32, True), (33, False)])
def test_changes_between_any_two_positions_are_worked_out_from_the_log(
    api: Api, seed: int, with_curation: bool
) -> None:
    api.record(*random_log(seed, steps=40, curated=with_curation))
    record = Record([event for _, event in api.recorded()])
    dice, head, told = random.Random(seed), len(record.log), 0
    for _ in range(25):
        start, to = sorted((dice.randint(0, head), dice.randint(0, head)))
        under = dice.choice(POLICIES)
        found = changed(api, start, to, policy=under)
        assert found == expected(record, start, to, under), (start, to, under)
        told += len(found)
    assert told > 20
    assert changed(api, 0) == expected(record, 0, head, record.at(head).policy.id)
    assert changed(api, head) == []


def test_what_the_second_to_fifth_article_changed(seeded: Api) -> None:
    """The seven claims of which the states after each article were worked out by hand, and no other."""
    found = changed(seeded, 1)
    begun = {each["slug"] for each in found if each["before"] is None}
    moved = {each["slug"]: (each["before"]["state"], each["after"]["state"]) for each in found if each["before"]}
    # Seventeen claims first appear after the first article.
    assert len(begun) == 17
    assert moved == {
        "troops-withdrawing": ("ASSERTED", "UNVERIFIED"),
        "preparing-invasion": ("DENIED", "UNVERIFIED"),
        "invasion-imminent": ("ASSERTED", "UNVERIFIED"),
    }


def test_a_change_comes_with_what_decided_it(seeded: Api) -> None:
    """Article 5 has Stoltenberg and Hockenhull deny the withdrawal; before, nobody did."""
    found = seeded.ask("""{ changes(from: 4, to: 5) { nodes { slug before { state reason denying } after { state reason
        denying because { nodes { speaker { slug } stance } } } transitions { nodes { event { article { url } }
        moves { nodes { speaker { slug } from { stance position } to { stance position quote } } } } } } } }""")
    (withdrawal,) = [each for each in found["changes"]["nodes"] if each["slug"] == "troops-withdrawing"]
    assert withdrawal["before"] == {"state": "ASSERTED", "reason": "UNCONTRADICTED", "denying": 0}
    after = withdrawal["after"]
    assert (after["state"], after["reason"], after["denying"]) == ("UNVERIFIED", "CONFLICT", 2)
    deniers = {each["speaker"]["slug"] for each in after["because"]["nodes"] if each["stance"] == "DENIES"}
    assert deniers == {"jens-stoltenberg", "jim-hockenhull"}
    (transition,) = withdrawal["transitions"]["nodes"]
    assert transition["event"]["article"]["url"] == "urn:seed:004_c3a154107b7ece12"
    moves = {each["speaker"]["slug"]: each for each in transition["moves"]["nodes"]}
    assert moves["jens-stoltenberg"]["from"] == {"stance": "WITHHOLDS", "position": 4}
    assert moves["jens-stoltenberg"]["to"]["stance"] == "DENIES"
    assert moves["jim-hockenhull"]["from"] is None
    assert [each["to"]["position"] for each in moves.values()] == [5] * len(moves)


def test_what_changed_and_changed_back_is_no_change(api: Api) -> None:
    api.record(article("a", nato=asserts("gas-cut")), article("b", uk=denies("gas-cut")), retraction("b"))
    assert [each["slug"] for each in changed(api, 1, 2)] == ["gas-cut"]
    assert changed(api, 1, 3) == []


def test_a_claim_merged_away_is_a_change_without_an_after(api: Api) -> None:
    api.record(article("a", nato=asserts("gas-cut")), article("b", uk=denies("gas-off")), merged("gas-off", "gas-cut"))
    api.record(undone(3))
    (cut, off) = changed(api, 2, 3)
    assert (cut["slug"], cut["before"]["state"], cut["after"]["state"]) == ("gas-cut", "ASSERTED", "UNVERIFIED")
    assert (off["slug"], off["before"]["state"], off["after"]) == ("gas-off", "DENIED", None)
    assert off["transitions"]["nodes"] == [{"position": 3, "from": "DENIED", "to": None, "reason": None}]
    assert changed(api, 2, 4) == []


def test_a_ruling_is_a_change_and_lifting_it_another(api: Api) -> None:
    api.record(article("a", nato=asserts("gas-cut")), ruled("gas-cut", State.DENIED), lifted("gas-cut"))
    assert [(each["before"]["reason"], each["after"]["reason"]) for each in changed(api, 1, 2)] == [
        ("UNCONTRADICTED", "RULED")
    ]
    assert changed(api, 1, 3) == []


def test_what_is_read_of_before_and_of_after_carries_its_own_moment(seeded: Api) -> None:
    found = seeded.ask("""{ changes(from: 4, to: 5) { nodes { slug claim { id }
        before { because { nodes { id standing } } } after { since { claim { id } } } } } }""")
    (withdrawal,) = [each for each in found["changes"]["nodes"] if each["slug"] == "troops-withdrawing"]
    before = withdrawal["before"]["because"]["nodes"]
    assert before
    assert all(each["id"].endswith("@4") and each["standing"] for each in before)
    assert withdrawal["after"]["since"]["claim"] == {"id": "Claim:troops-withdrawing@5"}
    assert withdrawal["claim"] == {"id": "Claim:troops-withdrawing"}


def test_later_pages_are_of_the_moment_of_the_first(seeded: Api) -> None:
    """Whatever is recorded or adopted between them."""
    whole = changed(seeded, 1)
    query = {"from": 1, "first": 3}
    page = seeded.ask(QUERY, **query)["changes"]
    slugs = [each["slug"] for each in page["nodes"]]
    seeded.record(*(retraction_of(each) for each in (2, 3)), adopted("latest"))
    while page["pageInfo"]["hasNextPage"]:
        page = seeded.ask(QUERY, **query, after=page["pageInfo"]["endCursor"])["changes"]
        assert {each["after"]["policy"] for each in page["nodes"]} == {"unanimous@1"}
        slugs += [each["slug"] for each in page["nodes"]]
    assert slugs == [each["slug"] for each in whole]
    assert changed(seeded, 1) != whole


def retraction_of(number: int) -> ArticleRetracted:
    return ArticleRetracted(url=SEEDS[number - 1].url, reason="It was made up.")


def test_an_as_of_bounds_what_is_compared(seeded: Api) -> None:
    assert changed(seeded, 1, asOf={"position": 3}) == changed(seeded, 1, 3)
    assert changed(seeded, 1, 2, asOf={"position": 3}) == changed(seeded, 1, 2)
    assert seeded.codes(QUERY, **{"from": 1, "to": 4, "asOf": {"position": 3}}) == ["BAD_ARGUMENT"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"from": 3, "to": 2}, "BAD_ARGUMENT"),
        ({"from": 6}, "BAD_ARGUMENT"),
        ({"from": 0, "asOf": {"saidBy": "2022-02-15"}}, "BAD_ARGUMENT"),
        ({"from": 0, "to": 6}, "AS_OF_INVALID"),
        ({"from": 0, "policy": "nobody"}, "POLICY_INVALID"),
        ({"from": 0, "policy": ""}, "POLICY_INVALID"),
        ({"from": 0, "first": 101}, "BAD_PAGE"),
        ({"from": -1}, "BAD_QUERY"),
        ({"from": None}, "BAD_QUERY"),
    ],
)
def test_what_cannot_be_compared_is_refused(seeded: Api, asked: dict[str, Any], code: str) -> None:
    assert seeded.codes(QUERY, **asked) == [code]


def test_a_cursor_of_other_positions_or_another_policy_is_refused(seeded: Api) -> None:
    after = seeded.ask(QUERY, **{"from": 1, "first": 1})["changes"]["pageInfo"]["endCursor"]
    for other in ({"from": 2}, {"from": 1, "to": 5}, {"from": 1, "policy": "unanimous"}):
        assert seeded.codes(QUERY, after=after, **other) == ["BAD_CURSOR"], other


@pytest.mark.parametrize("under", ["unanimous", "unanimous:min_speakers=2"])
def test_too_many_changes_are_refused(seeded: Api, monkeypatch: pytest.MonkeyPatch, under: str) -> None:
    monkeypatch.setattr(stored_beliefs, "FOLDED_MAX", 20)
    ((code, message),) = seeded.errors(QUERY, **{"from": 0, "policy": under})
    assert code == "TOO_BROAD"
    assert message.startswith("21 claims would have to be folded")
    assert len(changed(seeded, 4, 5, policy=under)) > 1
