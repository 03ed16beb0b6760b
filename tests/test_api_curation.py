"""What people decide: merges, rulings, relations, adoptions, erasures, each by its mutation and seen everywhere."""

import hashlib
from typing import Any

import pytest

from service.domain import article as documents
from service.domain.policies import NAMES, State
from tests.api import SEEDS, Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.builders import article, asserts, changed, denies, document, withholds
from tests.curated import REASON, adopted, lifted, merged, related, ruled, same_speaker, undone

OUTCOME = """{ __typename ... on CurationAccepted { position recordedAt projected event { type payload actor
        transitions { nodes { slug from to reason effectiveAt } } } }
    ... on CurationRepeated { position projected event { type } }
    ... on CurationRefused { code message problems { path message } } }"""


def written(value: Any) -> str:
    """An argument as a document holds it: capitals are enum values."""
    if isinstance(value, State):
        return value.name
    if isinstance(value, bool | int):
        return str(value).lower()
    return value if str(value) in ("REFINES", "CONTRADICTS") else f'"{value}"'


def decide(api: Api, mutation: str, **arguments: Any) -> dict[str, Any]:
    """What becomes of a decision, without waiting for the projector; then it is projected."""
    given = {"reason": "The desk looked into it.", "waitSeconds": 0, **arguments}
    sent = ", ".join(f"{name}: {written(value)}" for name, value in given.items())
    found = api.ask(f"mutation {{ {mutation}({sent}) {OUTCOME} }}")[mutation]
    api.project()
    return found


def accepted(api: Api, mutation: str, **arguments: Any) -> int:
    found = decide(api, mutation, **arguments)
    assert found["__typename"] == "CurationAccepted", found
    return found["position"]


def refused(api: Api, mutation: str, **arguments: Any) -> tuple[str, str]:
    """The code and message of a refusal, after which the log is as it was."""
    head = api.head()
    found = decide(api, mutation, **arguments)
    assert found["__typename"] == "CurationRefused", found
    assert api.head() == head
    return found["code"], found["message"]


@pytest.fixture
def gas(api: Api) -> Api:
    """Three claims: gas-cut is asserted by nato, gas-flows denied by the uk and asserted by the kremlin, war by us."""
    api.record(
        article("a", nato=asserts("gas-cut", bloc="west", quote="the valves are shut")),
        article("b", uk=denies("gas-flows", quote="nothing comes"), kremlin=asserts("gas-flows", quote="it runs")),
        article("c", us=[asserts("war-soon"), withholds("gas-cut")]),
    )
    return api


def belief(api: Api, claim: str, policy: str | None = None, as_of: Any = None) -> Any:
    """State, reason and counts; None where there is no such claim."""
    query = """query ($slug: String!, $policy: ID, $asOf: AsOf) { claim(slug: $slug, asOf: $asOf) { slug
        belief(policy: $policy) { state reason asserting denying withholding } } }"""
    found = api.ask(query, slug=claim, policy=policy, asOf=as_of)["claim"]
    return None if found is None else (found["slug"], *found["belief"].values())


# --- accepted, repeated, refused ----------------------------------------------------


DECISIONS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "mergeClaims": (
        {"claim": "gas-flows", "into": "gas-cut"},
        "ClaimsMerged",
        {"claim": "gas-flows", "into": "gas-cut"},
    ),
    "mergeSpeakers": ({"speaker": "uk", "into": "nato"}, "SpeakersMerged", {"speaker": "uk", "into": "nato"}),
    "relateClaims": (
        {"claim": "gas-flows", "relation": "CONTRADICTS", "to": "gas-cut"},
        "ClaimsRelated",
        {"claim": "gas-flows", "relation": "contradicts", "to": "gas-cut"},
    ),
    "ruleClaim": (
        {"claim": "gas-cut", "state": State.DENIED},
        "ClaimRuled",
        {"claim": "gas-cut", "state": "denied"},
    ),
    "adoptPolicy": ({"policy": "majority"}, "PolicyAdopted", {"policy": "majority@1"}),
    "eraseText": ({"textSha256": "a" * 64}, "TextErased", {"text_sha256": "a" * 64}),
}


@pytest.mark.parametrize("mutation", DECISIONS)
def test_a_decision_is_an_event_with_its_reason_and_who_sent_it(gas: Api, mutation: str) -> None:
    arguments, kind, payload = DECISIONS[mutation]
    with gas.projecting():
        found = decide(gas, mutation, **arguments, waitSeconds=30)
    told = found["event"].pop("transitions")["nodes"]
    reason = "The desk looked into it."
    assert found == {
        "__typename": "CurationAccepted",
        "position": 4,
        "recordedAt": found["recordedAt"],
        "projected": True,
        "event": {"type": kind, "payload": {**payload, "reason": reason}, "actor": "anonymous"},
    }
    assert {each["slug"] for each in told} == {"mergeClaims": {"gas-cut", "gas-flows"}, "ruleClaim": {"gas-cut"}}.get(
        mutation, set()
    )


def test_a_decision_that_is_not_projected_in_time_is_recorded_all_the_same(gas: Api) -> None:
    found = gas.ask(f'mutation {{ ruleClaim(claim: "gas-cut", state: DENIED, reason: "x", waitSeconds: 0) {OUTCOME} }}')
    assert found["ruleClaim"]["projected"] is False
    assert found["ruleClaim"]["event"] is None
    assert gas.head() == 4
    gas.project()
    assert belief(gas, "gas-cut")[1:3] == ("DENIED", "RULED")


@pytest.mark.parametrize("mutation", ["relateClaims", "ruleClaim", "adoptPolicy", "eraseText"])
def test_the_same_decision_again_changes_nothing(gas: Api, mutation: str) -> None:
    arguments, kind, _ = DECISIONS[mutation]
    assert accepted(gas, mutation, **arguments) == 4
    found = decide(gas, mutation, **arguments)
    assert found == {
        "__typename": "CurationRepeated",
        "position": 4,
        "projected": found["projected"],
        "event": {"type": kind},
    }
    assert gas.head() == 4


def test_what_was_ruled_or_adopted_otherwise_meanwhile_is_decided_anew(gas: Api) -> None:
    assert accepted(gas, "ruleClaim", claim="gas-cut", state=State.DENIED) == 4
    assert accepted(gas, "ruleClaim", claim="gas-cut", state=State.UNVERIFIED) == 5
    assert accepted(gas, "ruleClaim", claim="gas-cut", state=State.DENIED) == 6
    assert accepted(gas, "adoptPolicy", policy="latest") == 7
    assert accepted(gas, "adoptPolicy", policy="unanimous") == 8
    assert accepted(gas, "adoptPolicy", policy="latest@1") == 9


def test_a_merge_must_be_of_two_known_ids_that_are_not_merged_away(gas: Api) -> None:
    def claims(claim: str, into: str) -> tuple[str, str]:
        return refused(gas, "mergeClaims", claim=claim, into=into)

    assert claims("gas-cut", "gas-cut")[0] == "MERGE_INVALID"
    assert claims("nothing", "gas-cut")[0] == claims("gas-cut", "nothing")[0] == "CLAIM_UNKNOWN"
    # A speaker is no claim.
    assert claims("nato", "gas-cut")[0] == "CLAIM_UNKNOWN"
    assert accepted(gas, "mergeClaims", claim="gas-flows", into="gas-cut") == 4
    twice = claims("gas-flows", "war-soon")
    assert twice[0] == "MERGED_AWAY"
    assert "gas-flows is merged into gas-cut since position 4" in twice[1]
    assert claims("gas-flows", "gas-cut")[0] == "MERGED_AWAY"
    # So no circle can be made, in one step or two.
    assert claims("gas-cut", "gas-flows")[0] == "MERGED_AWAY"
    assert accepted(gas, "mergeClaims", claim="gas-cut", into="war-soon") == 5
    assert claims("war-soon", "gas-flows")[0] == claims("war-soon", "gas-cut")[0] == "MERGED_AWAY"


def test_so_it_is_with_speakers(gas: Api) -> None:
    def speakers(speaker: str, into: str) -> str:
        return refused(gas, "mergeSpeakers", speaker=speaker, into=into)[0]

    assert speakers("nato", "nato") == "MERGE_INVALID"
    assert speakers("nobody", "nato") == speakers("nato", "nobody") == speakers("gas-cut", "nato") == "SPEAKER_UNKNOWN"
    assert accepted(gas, "mergeSpeakers", speaker="uk", into="nato") == 4
    assert speakers("nato", "uk") == speakers("uk", "us") == speakers("us", "uk") == "MERGED_AWAY"


def test_only_a_merge_in_force_can_be_undone_and_only_once(gas: Api) -> None:
    def undo(position: int) -> tuple[str, str]:
        return refused(gas, "undoMerge", position=position)

    assert undo(1)[0] == undo(99)[0] == "MERGE_UNKNOWN"
    assert accepted(gas, "mergeClaims", claim="gas-flows", into="gas-cut") == 4
    assert accepted(gas, "undoMerge", position=4) == 5
    assert undo(4) == (
        "MERGE_UNKNOWN",
        "the merge of position 4 cannot be undone: it is undone since position 5; name the position of a merge",
    )
    assert undo(5)[0] == "MERGE_UNKNOWN"
    assert accepted(gas, "mergeClaims", claim="gas-flows", into="gas-cut", opposite=True) == 6


def test_only_a_claim_that_is_there_can_be_ruled_on_and_only_a_ruling_lifted(gas: Api) -> None:
    assert refused(gas, "ruleClaim", claim="nothing", state=State.DENIED)[0] == "CLAIM_UNKNOWN"
    assert refused(gas, "liftRuling", claim="nothing")[0] == "CLAIM_UNKNOWN"
    assert refused(gas, "liftRuling", claim="gas-cut")[0] == "NOT_RULED"
    accepted(gas, "ruleClaim", claim="gas-cut", state=State.DENIED)
    accepted(gas, "liftRuling", claim="gas-cut")
    assert refused(gas, "liftRuling", claim="gas-cut")[0] == "NOT_RULED"
    accepted(gas, "mergeClaims", claim="gas-flows", into="gas-cut")
    assert refused(gas, "ruleClaim", claim="gas-flows", state=State.DENIED)[0] == "MERGED_AWAY"
    assert refused(gas, "liftRuling", claim="gas-flows")[0] == "MERGED_AWAY"


def test_a_claim_bears_on_another_that_is_known(gas: Api) -> None:
    def relate(claim: str, to: str) -> str:
        return refused(gas, "relateClaims", claim=claim, relation="REFINES", to=to)[0]

    assert relate("gas-cut", "gas-cut") == "RELATION_INVALID"
    assert relate("gas-cut", "nothing") == relate("nothing", "gas-cut") == "CLAIM_UNKNOWN"


@pytest.mark.parametrize(
    ("mutation", "arguments", "path"),
    [
        ("mergeClaims", {"claim": "Gas Cut", "into": "gas-flows"}, "claim"),
        ("mergeSpeakers", {"speaker": "nato", "into": ""}, "into"),
        ("undoMerge", {"position": 0}, "position"),
        ("ruleClaim", {"claim": "", "state": State.DENIED}, "claim"),
        ("adoptPolicy", {"policy": "nobody"}, "policy"),
        ("adoptPolicy", {"policy": ""}, "policy"),
        ("eraseText", {"textSha256": "abc"}, "textSha256"),
        *(("liftRuling", {"claim": "gas-cut", "reason": reason}, "reason") for reason in ("", "x" * 10_001)),
    ],
)
def test_a_malformed_argument_is_named_as_it_was_sent(
    gas: Api, mutation: str, arguments: dict[str, Any], path: str
) -> None:
    found = decide(gas, mutation, **arguments)
    assert found["code"] == "DOCUMENT_INVALID"
    (problem,) = found["problems"]
    assert problem["path"] == path
    assert problem["message"]
    assert gas.head() == 3


@pytest.mark.parametrize("mutation", DECISIONS)
def test_a_decision_needs_a_reason_and_a_wait_that_can_be(gas: Api, mutation: str) -> None:
    sent = ", ".join(f"{name}: {written(value)}" for name, value in DECISIONS[mutation][0].items())
    assert gas.codes(f"mutation {{ {mutation}({sent}) {OUTCOME} }}") == ["BAD_QUERY"]
    for wait in (-1, 31):
        assert gas.codes(f'mutation {{ {mutation}({sent}, reason: "x", waitSeconds: {wait}) {OUTCOME} }}') == [
            "BAD_ARGUMENT"
        ]
    assert gas.head() == 3


# --- merged claims ------------------------------------------------------------------


def test_what_is_merged_counts_for_the_survivor_and_is_found_there(gas: Api) -> None:
    gas.record(merged("gas-flows", "gas-cut"))
    assert belief(gas, "gas-cut") == ("gas-cut", "UNVERIFIED", "CONFLICT", 2, 1, 1)
    assert belief(gas, "gas-flows") == belief(gas, "gas-cut")
    found = gas.ask("""{ claim(slug: "gas-flows") { id slug proposition alsoKnownAs wordings { nodes { proposition } }
        statements { nodes { id standing stance countsAs claim { slug } } }
        speakers { nodes { speaker { slug } } } } claims { totalCount byState { unverified asserted denied }
        nodes { slug } } article(url: "https://example.org/b") { claims { totalCount nodes { slug } } } }""")
    claim = found["claim"]
    assert (claim["id"], claim["slug"], claim["alsoKnownAs"]) == ("Claim:gas-cut", "gas-cut", ["gas-flows"])
    assert claim["proposition"] == "Gas cut."
    assert [each["proposition"] for each in claim["wordings"]["nodes"]] == ["Gas cut.", "Gas flows."]
    assert [each["id"] for each in claim["statements"]["nodes"]] == [
        f"Statement:{place}" for place in ("3.1", "2.1", "2.0", "1.0")
    ]
    for each in claim["statements"]["nodes"]:
        assert each["standing"]
        assert each["stance"] == each["countsAs"]
        assert each["claim"] == {"slug": "gas-cut"}
    assert {each["speaker"]["slug"] for each in claim["speakers"]["nodes"]} == {"nato", "uk", "kremlin", "us"}
    assert found["claims"] == {
        "totalCount": 2,
        "byState": {"unverified": 1, "asserted": 1, "denied": 0},
        "nodes": [{"slug": "gas-cut"}, {"slug": "war-soon"}],
    }
    assert found["article"]["claims"] == {"totalCount": 1, "nodes": [{"slug": "gas-cut"}]}


def test_merged_into_its_opposite_every_stance_counts_for_the_other_side(gas: Api) -> None:
    """Who denies that gas flows asserts that it is cut."""
    gas.record(merged("gas-flows", "gas-cut", opposite=True))
    assert belief(gas, "gas-cut") == ("gas-cut", "UNVERIFIED", "CONFLICT", 2, 1, 1)
    found = gas.ask("""{ claim(slug: "gas-cut") {
        asserting: statements(stance: ASSERTS) { nodes { id stance countsAs } }
        denying: statements(stance: DENIES, standing: true) { nodes { id stance countsAs } }
        withholding: statements(stance: WITHHOLDS) { nodes { id } }
        deniers: speakers(stance: DENIES) { nodes { speaker { slug } statement { stance countsAs } } }
        belief(policy: "any_denial") { because { nodes { id countsAs } } } }
        uk: speaker(slug: "uk") { asserting: statements(stance: ASSERTS) { nodes { id } }
            denying: statements(stance: DENIES) { nodes { id } } stances { nodes { stance countsAs } } }
        node(id: "Statement:2.0") { ... on Statement { stance countsAs standing claim { slug } } }
        article(url: "https://example.org/b") { statements(claim: "gas-cut") { nodes { id countsAs } } } }""")
    claim = found["claim"]
    assert claim["asserting"]["nodes"] == [
        {"id": "Statement:2.0", "stance": "DENIES", "countsAs": "ASSERTS"},
        {"id": "Statement:1.0", "stance": "ASSERTS", "countsAs": "ASSERTS"},
    ]
    assert claim["denying"]["nodes"] == [{"id": "Statement:2.1", "stance": "ASSERTS", "countsAs": "DENIES"}]
    assert claim["withholding"]["nodes"] == [{"id": "Statement:3.1"}]
    assert claim["deniers"]["nodes"] == [
        {"speaker": {"slug": "kremlin"}, "statement": {"stance": "ASSERTS", "countsAs": "DENIES"}}
    ]
    assert claim["belief"]["because"]["nodes"] == [{"id": "Statement:2.1", "countsAs": "DENIES"}]
    assert found["uk"] == {
        "asserting": {"nodes": [{"id": "Statement:2.0"}]},
        "denying": {"nodes": []},
        "stances": {"nodes": [{"stance": "DENIES", "countsAs": "ASSERTS"}]},
    }
    assert found["node"] == {"stance": "DENIES", "countsAs": "ASSERTS", "standing": True, "claim": {"slug": "gas-cut"}}
    assert found["article"]["statements"]["nodes"] == [
        {"id": "Statement:2.0", "countsAs": "ASSERTS"},
        {"id": "Statement:2.1", "countsAs": "DENIES"},
    ]


def test_twice_into_its_opposite_is_back_to_itself(gas: Api) -> None:
    gas.record(merged("gas-flows", "gas-cut", opposite=True), merged("gas-cut", "war-soon", opposite=True))
    found = gas.ask("""{ claim(slug: "gas-flows") { slug alsoKnownAs statements { nodes { id stance countsAs } } } }""")
    assert found["claim"]["slug"] == "war-soon"
    assert found["claim"]["alsoKnownAs"] == ["gas-cut", "gas-flows"]
    assert {each["id"]: (each["stance"], each["countsAs"]) for each in found["claim"]["statements"]["nodes"]} == {
        "Statement:1.0": ("ASSERTS", "DENIES"),
        "Statement:2.0": ("DENIES", "DENIES"),
        "Statement:2.1": ("ASSERTS", "ASSERTS"),
        "Statement:3.0": ("ASSERTS", "ASSERTS"),
        "Statement:3.1": ("WITHHOLDS", "WITHHOLDS"),
    }


def test_a_history_ends_with_nothing_and_begins_anew_with_nothing(gas: Api) -> None:
    gas.record(merged("gas-flows", "gas-cut"), undone(4))
    query = """query ($slug: String!, $policy: ID) { claim(slug: $slug) { history(policy: $policy) { nodes {
        position from to reason effectiveAt event { type } } } } }"""
    end = "2022-02-15T23:59:59.999999Z"
    for policy in ("unanimous", "corroborated:hedge_ratio=2", "unanimous:min_speakers=1"):
        found = gas.ask(query, slug="gas-flows", policy=policy)["claim"]["history"]["nodes"]
        assert [tuple(each.values())[:5] for each in found] == [
            (2, None, "UNVERIFIED", "CONFLICT", end),
            (4, "UNVERIFIED", None, None, end),
            (5, None, "UNVERIFIED", "CONFLICT", end),
        ], policy
        assert [each["event"]["type"] for each in found] == ["ArticleRecorded", "ClaimsMerged", "MergeUndone"]
    of_survivor = gas.ask(query, slug="gas-cut", policy="unanimous")["claim"]["history"]["nodes"]
    assert [(each["position"], each["from"], each["to"]) for each in of_survivor] == [
        (1, None, "ASSERTED"),
        (4, "ASSERTED", "UNVERIFIED"),
        (5, "UNVERIFIED", "ASSERTED"),
    ]
    # While it is merged away it has no history of its own; what the merge did is still told by its event.
    found = gas.ask("""{ event(position: 4) { transitions { nodes { slug from to claim { slug } moves { nodes {
        speaker { slug } from { id } to { id } } } } } }
        then: claim(slug: "gas-flows", asOf: {position: 4}) { slug } }""")
    cut, flows = found["event"]["transitions"]["nodes"]
    assert (cut["slug"], flows["slug"], flows["to"]) == ("gas-cut", "gas-flows", None)
    assert flows["moves"]["nodes"] == [
        {"speaker": {"slug": "kremlin"}, "from": {"id": "Statement:2.1"}, "to": None},
        {"speaker": {"slug": "uk"}, "from": {"id": "Statement:2.0"}, "to": None},
    ]
    assert cut["moves"]["nodes"] == [
        {"speaker": {"slug": "kremlin"}, "from": None, "to": {"id": "Statement:2.1"}},
        {"speaker": {"slug": "uk"}, "from": None, "to": {"id": "Statement:2.0"}},
    ]
    assert found["then"] == {"slug": "gas-cut"}


def test_a_merge_is_as_it_was_before_during_and_after_it(gas: Api) -> None:
    gas.record(merged("gas-flows", "gas-cut", opposite=True), article("d", eu=denies("gas-flows")), undone(4))
    then = [belief(gas, "gas-flows", as_of={"position": position}) for position in range(1, 7)]
    assert then == [
        None,
        ("gas-flows", "UNVERIFIED", "CONFLICT", 1, 1, 0),
        ("gas-flows", "UNVERIFIED", "CONFLICT", 1, 1, 0),
        ("gas-cut", "UNVERIFIED", "CONFLICT", 2, 1, 1),
        # A later article may still name the merged slug: it counts for the survivor, and the other way round.
        ("gas-cut", "UNVERIFIED", "CONFLICT", 3, 1, 1),
        ("gas-flows", "UNVERIFIED", "CONFLICT", 1, 2, 0),
    ]
    counts = [
        gas.ask("query ($at: Position) { claims(asOf: {position: $at}) { totalCount } }", at=at)["claims"]["totalCount"]
        for at in range(1, 7)
    ]
    assert counts == [1, 2, 3, 2, 2, 3]
    # What was said by then is of the merges in force at the position, not at the time.
    assert belief(gas, "gas-flows", as_of={"position": 4, "saidBy": "2022-02-15"})[0] == "gas-cut"
    assert belief(gas, "gas-flows", as_of={"position": 6, "saidBy": "2022-02-15"})[0] == "gas-flows"


def test_a_survivor_is_found_by_what_was_merged_into_it(gas: Api) -> None:
    query = (
        "query ($where: ClaimFilter, $asOf: AsOf) { claims(where: $where, asOf: $asOf) { totalCount nodes { slug } } }"
    )

    def found(as_of: Any = None, **where: Any) -> list[str]:
        claims = gas.ask(query, where=where, asOf=as_of)["claims"]
        slugs = [each["slug"] for each in claims["nodes"]]
        assert claims["totalCount"] == len(slugs)
        return slugs

    assert found(text="runs") == found(speaker="kremlin") == ["gas-flows"]
    gas.record(merged("gas-flows", "gas-cut"), same_speaker("kremlin", "uk"))
    for as_of in (None, {"saidBy": "2022-02-15"}):
        assert found(as_of, text="runs") == found(as_of, text="flows") == found(as_of, text="valves") == ["gas-cut"]
        assert found(as_of, speaker="kremlin") == found(as_of, speaker="uk") == ["gas-cut"]
        assert set(found(as_of, outlet="daily-planet")) == {"gas-cut", "war-soon"}
        assert found(as_of, contested=True) == []
        assert found(as_of, outlet="daily-planet", singleSpeaker=True) == ["war-soon"]
    assert found({"position": 3}, text="runs") == ["gas-flows"]
    gas.record(undone(4))
    assert found(text="runs") == ["gas-flows"]
    assert found(text="valves") == ["gas-cut"]
    assert found({"position": 5}, text="runs") == ["gas-cut"]


def test_topics_leave_merged_claims_out(api: Api) -> None:
    def about(name: str, claim: str, topic: str) -> Any:
        return documents.parse(changed(document(name, nato=asserts(claim)), "claims[0].topic", topic))

    api.record(about("a", "gas-cut", "gas"), about("b", "gas-flows", "gas"), merged("gas-flows", "gas-cut"))
    query = """query ($at: Position) { claim(slug: "gas-cut", asOf: {position: $at}) { topic { slug claims { totalCount
        nodes { slug } } } } claims(where: {topic: "gas"}, asOf: {position: $at}) { totalCount } }"""
    found = [api.ask(query, at=at) for at in (2, 3)]
    assert [each["claims"]["totalCount"] for each in found] == [2, 1]
    both, one = (each["claim"]["topic"]["claims"] for each in found)
    assert both == {"totalCount": 2, "nodes": [{"slug": "gas-cut"}, {"slug": "gas-flows"}]}
    assert one == {"totalCount": 1, "nodes": [{"slug": "gas-cut"}]}


# --- merged speakers ----------------------------------------------------------------


def test_merged_speakers_stand_once(api: Api) -> None:
    api.record(
        article("a", published="2022-02-14", mod=asserts("gas-cut")),
        article("b", published="2022-02-15", putin=denies("gas-cut")),
    )
    assert belief(api, "gas-cut")[1:] == ("UNVERIFIED", "CONFLICT", 1, 1, 0)
    api.record(same_speaker("mod", "putin"))
    assert belief(api, "gas-cut")[1:] == ("DENIED", "UNCONTRADICTED", 0, 1, 0)
    found = api.ask("""{ claim(slug: "gas-cut") { statements { nodes { id standing name speaker { slug } } }
        his: statements(speaker: "mod") { nodes { id } }
        speakers { nodes { speaker { slug alsoKnownAs } stances { nodes { id } } } }
        belief { since { position moves { nodes { speaker { slug } from { id } to { id } } } } } }
        mod: speaker(slug: "mod") { id slug name alsoKnownAs statements { nodes { id } } stances { nodes { id } } }
        speakers { nodes { slug } } }""")
    claim = found["claim"]
    # Who is named stays as the article names them; whose word it is, is the survivor's.
    assert claim["statements"]["nodes"] == [
        {"id": "Statement:2.0", "standing": True, "name": "Putin", "speaker": {"slug": "putin"}},
        {"id": "Statement:1.0", "standing": False, "name": "Mod", "speaker": {"slug": "putin"}},
    ]
    both = {"nodes": [{"id": "Statement:2.0"}, {"id": "Statement:1.0"}]}
    in_order = {"nodes": [{"id": "Statement:1.0"}, {"id": "Statement:2.0"}]}
    assert claim["his"] == both
    assert claim["speakers"]["nodes"] == [{"speaker": {"slug": "putin", "alsoKnownAs": ["mod"]}, "stances": in_order}]
    assert claim["belief"]["since"] == {
        "position": 3,
        "moves": {"nodes": [{"speaker": {"slug": "putin"}, "from": {"id": "Statement:1.0"}, "to": None}]},
    }
    assert found["mod"] == {
        "id": "Speaker:putin",
        "slug": "putin",
        "name": "Putin",
        "alsoKnownAs": ["mod"],
        "statements": both,
        "stances": in_order,
    }
    assert found["speakers"]["nodes"] == [{"slug": "putin"}]
    api.record(undone(3))
    assert belief(api, "gas-cut")[1:] == ("UNVERIFIED", "CONFLICT", 1, 1, 0)
    assert belief(api, "gas-cut", as_of={"position": 3})[1:] == ("DENIED", "UNCONTRADICTED", 0, 1, 0)
    assert api.ask('{ speaker(slug: "mod") { slug alsoKnownAs } }')["speaker"] == {"slug": "mod", "alsoKnownAs": []}


def test_also_known_as_is_in_order_of_the_merges(api: Api) -> None:
    ids = [f"claim-{n}" for n in (5, 3, 9, 1, 7)]
    api.record(article("a", nato=[asserts("all"), *(asserts(each) for each in ids)]))
    api.record(*(merged(each, "all") for each in ids))
    assert api.ask('{ claim(slug: "all") { alsoKnownAs } }')["claim"]["alsoKnownAs"] == ids


# --- rulings ------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [*NAMES, "unanimous:min_speakers=2"])
def test_a_ruling_holds_under_every_policy_and_says_what_each_says_alone(gas: Api, policy: str) -> None:
    query = """query ($policy: ID) { claim(slug: "gas-flows") { belief(policy: $policy) { state reason asserting denying
        unruled { state reason } because { nodes { id } } since { position effectiveAt retroactive
        moves { nodes { speaker { slug } } } event { type } } } } }"""
    before = gas.ask(query, policy=policy)["claim"]["belief"]
    gas.record(ruled("gas-flows", State.ASSERTED))
    found = gas.ask(query, policy=policy)["claim"]["belief"]
    assert (found["state"], found["reason"]) == ("ASSERTED", "RULED")
    # A ruling changes no tally, and rests on no statement.
    assert (found["asserting"], found["denying"]) == (1, 1)
    assert found["unruled"] == before["unruled"] == {"state": before["state"], "reason": before["reason"]}
    assert found["because"] == {"nodes": []}
    assert found["since"] == {
        "position": 4,
        "effectiveAt": None,
        "retroactive": False,
        "moves": {"nodes": []},
        "event": {"type": "ClaimRuled"},
    }
    gas.record(lifted("gas-flows"))
    found = gas.ask(query, policy=policy)["claim"]["belief"]
    assert found["since"]["position"] == 5
    assert {**found, "since": None} == {**before, "since": None}


def test_a_ruling_sleeps_while_its_claim_is_merged_away(gas: Api) -> None:
    gas.record(ruled("gas-flows", State.DENIED), merged("gas-flows", "gas-cut"), undone(5))
    assert belief(gas, "gas-flows", as_of={"position": 4})[:3] == ("gas-flows", "DENIED", "RULED")
    assert belief(gas, "gas-flows", as_of={"position": 5})[:3] == ("gas-cut", "UNVERIFIED", "CONFLICT")
    assert belief(gas, "gas-flows")[:3] == ("gas-flows", "DENIED", "RULED")


def test_what_is_recorded_under_a_ruling_moves_the_counts_alone(gas: Api) -> None:
    gas.record(ruled("gas-cut", State.DENIED), article("d", eu=denies("gas-cut")))
    found = gas.ask("""{ claim(slug: "gas-cut") { belief { state reason asserting denying unruled { state reason }
        since { position } } } claims(where: {state: DENIED, contested: true}) { nodes { slug } } }""")
    assert found["claim"]["belief"] == {
        "state": "DENIED",
        "reason": "RULED",
        "asserting": 1,
        "denying": 1,
        "unruled": {"state": "UNVERIFIED", "reason": "CONFLICT"},
        "since": {"position": 4},
    }
    assert found["claims"]["nodes"] == [{"slug": "gas-cut"}]


# --- relations, adoptions, erasures ---------------------------------------------------


def test_relations_are_shown_from_both_sides_and_move_nothing(gas: Api) -> None:
    before = [belief(gas, claim) for claim in ("gas-cut", "gas-flows", "war-soon")]
    gas.record(related("gas-cut", "war-soon"), related("gas-flows", "gas-cut"))
    assert [belief(gas, claim) for claim in ("gas-cut", "gas-flows", "war-soon")] == before
    query = "{{ claim(slug: {}) {{ relations {{ position claim {{ slug }} to {{ slug belief {{ state }} }} }} }} }}"

    def shown(claim: str) -> list[tuple[int, str, str]]:
        found = gas.ask(query.format(f'"{claim}"'))["claim"]["relations"]
        return [(each["position"], each["claim"]["slug"], each["to"]["slug"]) for each in found]

    first, second = (4, "gas-cut", "war-soon"), (5, "gas-flows", "gas-cut")
    assert (shown("gas-cut"), shown("gas-flows"), shown("war-soon")) == ([first, second], [second], [first])
    gas.record(merged("gas-flows", "war-soon"))
    # They are the survivor's now, each once.
    assert shown("war-soon") == [first, (5, "war-soon", "gas-cut")]
    gas.record(merged("gas-cut", "war-soon"))
    assert shown("war-soon") == [(4, "war-soon", "war-soon"), (5, "war-soon", "war-soon")]


def test_adopting_a_policy_changes_only_what_is_meant(seeded: Api) -> None:
    fields = "byState { asserted denied unverified } nodes { slug belief%s { state reason policy since { cursor } } }"
    lists = "claims(where: {policy: $policy}, first: 100) { " + fields % "(policy: $policy)" + " }"
    named, meant = f"query ($policy: ID) {{ {lists} }}", f"{{ claims(first: 100) {{ {fields % ''} }} }}"
    before = {name: seeded.ask(named, policy=name) for name in NAMES}
    assert seeded.ask(meant) == before["unanimous"]
    digest = seeded.ask("{ policies { id inForce } }")["policies"]
    assert [each["id"] for each in digest if each["inForce"]] == ["unanimous@1"]
    seeded.record(adopted("corroborated"))
    assert seeded.ask(meant) == before["corroborated"]
    assert {name: seeded.ask(named, policy=name) for name in NAMES} == before
    found = seeded.ask("""{ policies { id inForce } then: policies(asOf: {position: 5}) { id inForce }
        event(position: 6) { transitions { nodes { slug } } } changes(from: 5) { nodes { slug } }
        claim(slug: "genocide-in-donbass", asOf: {position: 5}) { belief { policy } history { nodes { policy } } }
        topics(first: 1) { nodes { claims { byState { asserted } } } } }""")
    assert [each["id"] for each in found["policies"] if each["inForce"]] == ["corroborated@1"]
    assert [each["id"] for each in found["then"] if each["inForce"]] == ["unanimous@1"]
    assert found["event"]["transitions"]["nodes"] == found["changes"]["nodes"] == []
    assert found["claim"]["belief"] == {"policy": "unanimous@1"}
    assert {each["policy"] for each in found["claim"]["history"]["nodes"]} == {"unanimous@1"}


def test_pages_that_began_before_an_adoption_go_on_as_they_began(seeded: Api) -> None:
    lists = """{{ claims(first: {}, after: {}) {{ totalCount byState {{ asserted }} nodes {{ slug belief {{ policy }} }}
        pageInfo {{ endCursor }} }} }}"""
    whole = seeded.ask(lists.format(100, "null"))["claims"]
    first = seeded.ask(lists.format(5, "null"))["claims"]
    history = """query ($after: String) { claim(slug: "troops-withdrawing") { history(first: 1, after: $after) {
        nodes { policy to } pageInfo { endCursor } } } }"""
    after = seeded.ask(history)["claim"]["history"]["pageInfo"]["endCursor"]
    seeded.record(adopted("latest"))
    cursor = first["pageInfo"]["endCursor"]
    second = seeded.ask(lists.format(100, f'"{cursor}"'))["claims"]
    assert first["nodes"] + second["nodes"] == whole["nodes"]
    assert (second["totalCount"], second["byState"]) == (whole["totalCount"], whole["byState"])
    (step,) = seeded.ask(history, after=after)["claim"]["history"]["nodes"]
    assert step == {"policy": "unanimous@1", "to": "UNVERIFIED"}


TEXT = "Before it, they said so. And after it."
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()
SEND = """mutation ($input: ArticleInput!) { recordArticle(input: $input, waitSeconds: 0) { __typename
    ... on ArticleAccepted { position } ... on ArticleRepeated { position } } }"""


def sent(name: str) -> dict[str, Any]:
    statement = {"speaker": {"id": "nato", "name": "NATO"}, "stance": "ASSERTS", "quote": "they said so"}
    return {
        "url": f"https://example.org/{name}",
        "outlet": {"id": "planet", "name": "Planet"},
        "publishedAt": "2022-02-15",
        "text": TEXT,
        "claims": [{"claim": "gas-cut", "proposition": "Gas is cut.", "statements": [statement]}],
    }


def test_an_erased_text_is_gone_for_good_whoever_sends_it_again(api: Api) -> None:
    def texts(as_of: Any = None) -> list[str | None]:
        found = api.ask(
            "query ($asOf: AsOf) { articles(asOf: $asOf) { nodes { text textSha256 quotesVerified } } }", asOf=as_of
        )["articles"]["nodes"]
        assert all((each["textSha256"], each["quotesVerified"]) == (DIGEST, True) for each in found)
        return [each["text"] for each in found]

    def send(name: str) -> dict[str, Any]:
        found = api.ask(SEND, input=sent(name))["recordArticle"]
        api.project()
        return found

    api.project()
    assert [send(name)["position"] for name in "ab"] == [1, 2]
    assert texts() == [TEXT, TEXT]
    assert accepted(api, "eraseText", textSha256=DIGEST) == 3
    assert texts() == [None, None]
    # Texts are not of the past: erased is erased, whatever position is asked for.
    assert texts({"position": 2}) == [None, None]
    # The same article again, and another with the same text.
    assert send("a") == {"__typename": "ArticleRepeated", "position": 1}
    assert texts() == [None, None]
    assert send("c")["position"] == 4
    assert texts() == [None, None, None]
    for as_of in (None, {"position": 2}):
        query = "query ($asOf: AsOf) { articles(asOf: $asOf) { nodes { erasure { position type } } } }"
        by = [each["erasure"] for each in api.ask(query, asOf=as_of)["articles"]["nodes"]]
        assert by == [{"position": 3, "type": "TextErased"}] * len(by)
    assert belief(api, "gas-cut")[1:] == ("ASSERTED", "UNCONTRADICTED", 1, 0, 0)
    with api.engine.begin() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM onrecord.article_text").scalar_one() == 0


def test_an_event_says_why_it_was_decided(api: Api) -> None:
    api.record(article("a", nato=asserts("gas-cut")), ruled("gas-cut", State.DENIED))
    found = api.ask("{ events { nodes { type reason } } }")["events"]["nodes"]
    assert found == [{"type": "ArticleRecorded", "reason": None}, {"type": "ClaimRuled", "reason": REASON}]


# --- together -----------------------------------------------------------------------


def test_the_seeds_with_two_claims_that_negate_each_other_merged(seeded: Api) -> None:
    """Building up is not withdrawing: whoever asserts the one denies the other."""
    before = belief(seeded, "troops-withdrawing"), belief(seeded, "forces-building-up")
    seeded.record(merged("forces-building-up", "troops-withdrawing", opposite=True))
    _, _, _, asserting, denying, withholding = belief(seeded, "troops-withdrawing")
    speakers = {
        (claim.claim, each.speaker_of(statement))
        for each in SEEDS
        for _, claim, statement in each.statements()
        if claim.claim in ("troops-withdrawing", "forces-building-up")
    }
    # Each speaker stands once, whichever of the two they spoke of.
    assert asserting + denying + withholding == len({speaker for _, speaker in speakers})
    assert belief(seeded, "forces-building-up")[0] == "troops-withdrawing"
    seeded.record(undone(6))
    assert (belief(seeded, "troops-withdrawing"), belief(seeded, "forces-building-up")) == before
