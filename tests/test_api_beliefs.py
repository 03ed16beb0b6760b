"""Beliefs and histories are those of the fold, under every policy, projected or not."""

from collections.abc import Sequence
from typing import Any

import pytest

from service.domain.belief import Fold, Transition, grounds
from service.domain.events import Event
from service.domain.policies import NAMES, policy
from tests.api import SEEDS, Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.builders import article, asserts, denies
from tests.test_projector import some_log

NOT_PROJECTED = (
    "unanimous:min_speakers=2",
    "unanimous@1:hedge_ratio=2",
    "unanimous:hedge_ratio=0.5,min_speakers=3",
    "corroborated:min_speakers=2",
)


def instant(value: Any) -> str:
    return value.isoformat().replace("+00:00", "Z")


def expected(log: Sequence[tuple[int, Event]], id: str) -> dict[str, dict[str, Any]]:
    """By claim the belief and the history that a pure fold of the log comes to."""
    rule = policy(id)
    fold = Fold([rule])
    chains: dict[str, list[Transition]] = {}
    for position, event in log:
        for each in fold.apply(event, position).transitions:
            chains.setdefault(each.claim, []).append(each)
    found: dict[str, dict[str, Any]] = {}
    for claim, verdict in fold.verdicts(rule):
        stands = fold.claims[claim]
        tally = stands.tally()
        latest = stands.latest()
        rests_on = [each for each in stands.by_speaker.values() if each.stance in grounds(verdict.reason)]
        if verdict.reason == "LATEST_WORD":
            assert latest is not None
            rests_on = [latest]
        history = [
            {
                "cursor": f"{each.position}:{claim}",
                "policy": rule.id,
                "position": each.position,
                "from": None if each.before is None else each.before.state.name,
                "to": None if each.after is None else each.after.state.name,
                "reason": None if each.after is None else each.after.reason.name,
                "effectiveAt": instant(each.effective_at),
                "retroactive": each.retroactive,
            }
            for each in chains[claim]
        ]
        found[claim] = {
            "belief": {
                "state": verdict.state.name,
                "reason": verdict.reason.name,
                "policy": rule.id,
                "asserting": tally.asserting,
                "denying": tally.denying,
                "withholding": tally.withholding,
                "contested": tally.asserting > 0 and tally.denying > 0,
                "singleSpeaker": tally.asserting + tally.denying == 1,
                "since": history[-1],
                "because": {
                    "nodes": [
                        {"id": f"Statement:{each.position}.{each.ordinal}"}
                        for each in sorted(rests_on, key=lambda each: (each.position, each.ordinal), reverse=True)
                    ]
                },
            },
            "history": {"nodes": history},
        }
    return found


TRANSITION = "cursor policy position from to reason effectiveAt retroactive"


def told(api: Api, id: str) -> dict[str, dict[str, Any]]:
    """By claim the belief and the history that the API tells."""
    found = api.ask(
        f"""query ($policy: ID) {{ claims(first: 100) {{ nodes {{ slug
        belief(policy: $policy) {{ state reason policy asserting denying withholding contested singleSpeaker
            since {{ {TRANSITION} }} because(first: 100) {{ nodes {{ id }} }} }}
        history(policy: $policy, first: 100) {{ nodes {{ {TRANSITION} }} }} }} }} }}""",
        policy=id,
    )
    return {each.pop("slug"): each for each in found["claims"]["nodes"]}


@pytest.mark.parametrize("seed", range(3))
def test_beliefs_and_histories_are_the_folds_whatever_was_recorded(api: Api, seed: int):
    for part in (0, 1):
        happened = some_log(seed, 60)
        api.record(*(happened[:25] if part == 0 else happened[25:]))
        log = api.recorded()
        for id in (*NAMES, *NOT_PROJECTED):
            assert told(api, id) == expected(log, id), id


def test_beliefs_in_the_seeds_are_the_folds(seeded: Api):
    log = seeded.recorded()
    reasons: set[str] = set()
    for id in (*NAMES, *NOT_PROJECTED):
        found = told(seeded, id)
        assert found == expected(log, id), id
        reasons.update(each["belief"]["reason"] for each in found.values())
    assert reasons >= {"CONFLICT", "UNCONTRADICTED", "TOO_FEW_SPEAKERS", "OUTWEIGHED_BY_DOUBT", "UNCORROBORATED"}
    assert reasons >= {"OUTVOTED", "TIED", "LATEST_WORD", "DENIED_BY_ANY"}


def test_five_policies_make_five_things_of_one_claim(seeded: Api):
    fields = " ".join(f'{name}: belief(policy: "{name}") {{ state reason }}' for name in NAMES)
    found = seeded.ask(f'{{ claim(slug: "troops-withdrawing") {{ {fields} }} }}')["claim"]
    assert {name: (each["state"], each["reason"]) for name, each in found.items()} == {
        "unanimous": ("UNVERIFIED", "CONFLICT"),
        "corroborated": ("UNVERIFIED", "CONFLICT"),
        "majority": ("ASSERTED", "OUTVOTED"),
        "latest": ("DENIED", "LATEST_WORD"),
        "any_denial": ("DENIED", "DENIED_BY_ANY"),
    }


def test_where_no_policy_is_named_the_one_in_force_is_meant(seeded: Api):
    found = seeded.ask("""{ claim(slug: "troops-withdrawing") { a: belief { policy state } b: belief(policy: null) {
        policy state } c: belief(policy: "unanimous:min_speakers=1") { policy state } } }""")["claim"]
    assert found["a"] == found["b"] == found["c"] == {"policy": "unanimous@1", "state": "UNVERIFIED"}


def test_what_is_projected_makes_no_difference_to_a_belief(api: Api):
    api.append(*some_log(5, 40))
    api.project(["unanimous:min_speakers=2"])
    log = api.recorded()
    query = """query ($policy: ID) { claims(first: 100, where: {policy: "unanimous:min_speakers=2"}) { nodes { slug
        belief(policy: $policy) { state reason asserting denying withholding since { cursor } } } } }"""
    for id in (*NAMES, *NOT_PROJECTED):
        nodes = api.ask(query, policy=id)["claims"]["nodes"]
        beliefs = {claim: each["belief"] for claim, each in expected(log, id).items()}
        assert len(nodes) == len(beliefs)
        for each in nodes:
            assert each["belief"] == {
                **{name: beliefs[each["slug"]][name] for name in each["belief"] if name != "since"},
                "since": {"cursor": beliefs[each["slug"]]["since"]["cursor"]},
            }


def test_a_belief_does_not_depend_on_what_comes_later_in_the_log(api: Api):
    """Nothing that is appended and not yet projected shows, under no policy."""
    api.record(article("a", nato=asserts("gas-cut")))
    before = {id: told(api, id) for id in ("unanimous", *NOT_PROJECTED)}
    api.append(article("b", kremlin=denies("gas-cut")))
    assert {id: told(api, id) for id in ("unanimous", *NOT_PROJECTED)} == before
    api.project()
    assert {id: told(api, id) for id in ("unanimous", *NOT_PROJECTED)} != before


@pytest.mark.parametrize(
    "id",
    ["", "nobody", "unanimous@2", "unanimous:min_speakers=0", "unanimous:min_speakers=x", "majority:min_speakers=2"],
)
def test_a_policy_that_cannot_be_is_refused_where_it_is_named(seeded: Api, id: str):
    answer = seeded.answer(
        """query ($id: ID) { claim(slug: "troops-withdrawing") { belief(policy: $id) { state } }
        other: claim(slug: "troops-withdrawing") { history(policy: $id) { nodes { to } } } log { head } }""",
        id=id,
    )
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"POLICY_INVALID"}
    assert answer["data"] == {"claim": None, "other": None, "log": {"head": len(SEEDS)}}
