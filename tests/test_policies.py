"""Policies: what each makes of a tally, and how each is named."""

from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.article import Stance
from service.domain.belief import grounds
from service.domain.errors import PolicyInvalid
from service.domain.policies import DEFAULT, NAMES, Policy, Reason, State, Tally, Verdict, policy
from tests import builders  # noqa: F401 - the profile of Hypothesis

ASSERTS, DENIES, WITHHOLDS = Stance

A, D, U = "asserted", "denied", "unverified"

#: asserting, denying, withholding: what each policy makes of them where every speaker is of a bloc of
#: their own and the last decisive word is an assertion if there is one, in the order of `NAMES`.
_SAME = {
    (0, 0, 0): f"{U} RETRACTED",
    (0, 0, 1): f"{U} ONLY_WITHHELD",
    (0, 0, 9): f"{U} ONLY_WITHHELD",
    (2, 0, 0): f"{A} UNCONTRADICTED",
    (2, 0, 9): f"{A} UNCONTRADICTED",
    (0, 2, 0): f"{D} UNCONTRADICTED",
    (0, 2, 9): f"{D} UNCONTRADICTED",
}
_TABLE = [
    # unanimous, corroborated, majority, latest, any_denial
    *((counts, (verdict,) * 5) for counts, verdict in _SAME.items()),
    (
        (1, 0, 0),
        (f"{A} UNCONTRADICTED", f"{U} UNCORROBORATED", *[f"{A} UNCONTRADICTED"] * 3),
    ),
    (
        (0, 1, 0),
        (f"{D} UNCONTRADICTED", f"{U} UNCORROBORATED", *[f"{D} UNCONTRADICTED"] * 3),
    ),
    (
        (1, 0, 5),
        (f"{A} UNCONTRADICTED", f"{U} UNCORROBORATED", *[f"{A} UNCONTRADICTED"] * 3),
    ),
    ((1, 1, 0), (f"{U} CONFLICT", f"{U} CONFLICT", f"{U} TIED", f"{A} LATEST_WORD", f"{D} DENIED_BY_ANY")),
    ((3, 3, 3), (f"{U} CONFLICT", f"{U} CONFLICT", f"{U} TIED", f"{A} LATEST_WORD", f"{D} DENIED_BY_ANY")),
    ((9, 1, 0), (f"{U} CONFLICT", f"{U} CONFLICT", f"{A} OUTVOTED", f"{A} LATEST_WORD", f"{D} DENIED_BY_ANY")),
    ((1, 9, 0), (f"{U} CONFLICT", f"{U} CONFLICT", f"{D} OUTVOTED", f"{A} LATEST_WORD", f"{D} DENIED_BY_ANY")),
    ((2, 1, 9), (f"{U} CONFLICT", f"{U} CONFLICT", f"{A} OUTVOTED", f"{A} LATEST_WORD", f"{D} DENIED_BY_ANY")),
]


def tally(
    asserting: int, denying: int, withholding: int, *, blocs: int | None = None, latest: Stance | None = None
) -> Tally:
    """A tally that can be: the deciding speakers from `blocs` blocs, each of its own unless told."""
    if latest is None and asserting + denying:
        latest = ASSERTS if asserting else DENIES
    return Tally(
        asserting,
        denying,
        withholding,
        asserting if blocs is None else min(blocs, asserting),
        denying if blocs is None else min(blocs, denying),
        latest,
    )


def decided(id: str, seen: Tally) -> str:
    state, reason = policy(id).decide(seen)
    return f"{state} {reason}"


@pytest.mark.parametrize(
    ("name", "counts", "expected"),
    [(name, counts, expected) for counts, row in _TABLE for name, expected in zip(NAMES, row, strict=True)],
)
def test_the_verdict_of_each_policy(name: str, counts: tuple[int, int, int], expected: str):
    assert decided(name, tally(*counts)) == expected


@pytest.mark.parametrize(
    ("counts", "latest", "expected"),
    [
        ((1, 1, 0), DENIES, f"{D} LATEST_WORD"),
        ((1, 1, 0), ASSERTS, f"{A} LATEST_WORD"),
        ((9, 1, 9), DENIES, f"{D} LATEST_WORD"),
        ((1, 9, 9), ASSERTS, f"{A} LATEST_WORD"),
        ((0, 9, 9), DENIES, f"{D} UNCONTRADICTED"),
        ((9, 0, 9), ASSERTS, f"{A} UNCONTRADICTED"),
    ],
)
def test_who_took_a_side_last_decides_under_latest(counts: tuple[int, int, int], latest: Stance, expected: str):
    assert decided("latest", tally(*counts, latest=latest)) == expected


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["unanimous", "corroborated"])
@pytest.mark.parametrize(
    ("parameters", "counts", "expected"),
    [
        # In order of priority: CONFLICT, TOO_FEW_SPEAKERS, OUTWEIGHED_BY_DOUBT, UNCONTRADICTED.
        ("min_speakers=3", (1, 1, 0), f"{U} CONFLICT"),
        ("min_speakers=3,hedge_ratio=9", (1, 1, 5), f"{U} CONFLICT"),
        ("min_speakers=3", (2, 0, 0), f"{U} TOO_FEW_SPEAKERS"),
        ("min_speakers=3", (0, 2, 0), f"{U} TOO_FEW_SPEAKERS"),
        ("min_speakers=3,hedge_ratio=9", (2, 0, 5), f"{U} TOO_FEW_SPEAKERS"),
        ("min_speakers=3", (3, 0, 0), f"{A} UNCONTRADICTED"),
        ("min_speakers=3", (0, 3, 0), f"{D} UNCONTRADICTED"),
        ("min_speakers=3", (0, 0, 3), f"{U} ONLY_WITHHELD"),
        ("min_speakers=3", (0, 0, 0), f"{U} RETRACTED"),
        ("hedge_ratio=0.5", (2, 0, 5), f"{U} OUTWEIGHED_BY_DOUBT"),
        ("hedge_ratio=0.5", (2, 0, 4), f"{A} UNCONTRADICTED"),
        ("hedge_ratio=0.5", (0, 2, 5), f"{U} OUTWEIGHED_BY_DOUBT"),
        ("hedge_ratio=0.5", (0, 2, 4), f"{D} UNCONTRADICTED"),
        ("hedge_ratio=1", (3, 0, 3), f"{A} UNCONTRADICTED"),
        ("hedge_ratio=1", (3, 0, 4), f"{U} OUTWEIGHED_BY_DOUBT"),
        ("hedge_ratio=0.07", (7, 0, 100), f"{A} UNCONTRADICTED"),  # floats make it more than 7
        ("hedge_ratio=0.07", (7, 0, 101), f"{U} OUTWEIGHED_BY_DOUBT"),
        ("hedge_ratio=0.000001", (2, 0, 2_000_000), f"{A} UNCONTRADICTED"),
        ("hedge_ratio=0.000001", (2, 0, 2_000_001), f"{U} OUTWEIGHED_BY_DOUBT"),
        ("hedge_ratio=999999.999999", (2, 0, 0), f"{A} UNCONTRADICTED"),
    ],
)
def test_parameters_make_a_policy_stricter(name: str, parameters: str, counts: tuple[int, int, int], expected: str):
    assert decided(f"{name}:{parameters}", tally(*counts)) == expected


@pytest.mark.parametrize(
    ("parameters", "counts", "blocs", "expected"),
    [
        ("", (5, 0, 0), 0, f"{U} UNCORROBORATED"),
        ("", (5, 0, 0), 1, f"{U} UNCORROBORATED"),
        ("", (5, 0, 0), 2, f"{A} UNCONTRADICTED"),
        ("", (0, 5, 0), 1, f"{U} UNCORROBORATED"),
        ("", (0, 5, 9), 2, f"{D} UNCONTRADICTED"),
        ("", (5, 5, 0), 1, f"{U} CONFLICT"),
        (":min_speakers=6", (5, 0, 0), 1, f"{U} TOO_FEW_SPEAKERS"),
        (":hedge_ratio=1", (5, 0, 6), 1, f"{U} OUTWEIGHED_BY_DOUBT"),
        (":hedge_ratio=1", (5, 0, 5), 1, f"{U} UNCORROBORATED"),
    ],
)
def test_corroboration_takes_two_blocs(parameters: str, counts: tuple[int, int, int], blocs: int, expected: str):
    assert decided(f"corroborated{parameters}", tally(*counts, blocs=blocs)) == expected


@pytest.mark.parametrize("name", ["unanimous", "majority", "latest", "any_denial"])
def test_blocs_count_for_corroboration_alone(name: str):
    for counts in product(range(3), repeat=3):
        assert decided(name, tally(*counts, blocs=0)) == decided(name, tally(*counts, blocs=5))


_tallies = st.builds(
    lambda a, d, w, blocs, last: tally(a, d, w, blocs=blocs, latest=last if a and d else None),
    st.integers(0, 4),
    st.integers(0, 4),
    st.integers(0, 9),
    st.integers(0, 3),
    st.sampled_from([ASSERTS, DENIES]),
)
_policies = st.sampled_from(
    [*NAMES, "unanimous:min_speakers=2", "unanimous:hedge_ratio=0.5", "corroborated:hedge_ratio=2,min_speakers=3"]
)


@given(_tallies, _policies)
def test_every_tally_has_a_verdict_that_rests_on_something(seen: Tally, id: str):
    state, reason = policy(id).decide(seen)
    counted = {ASSERTS: seen.asserting, DENIES: seen.denying, WITHHOLDS: seen.withholding}
    grounded = any(counted[stance] for stance in grounds(reason))
    assert grounded == (reason is not Reason.RETRACTED)
    if state is State.ASSERTED:
        assert seen.asserting
    if state is State.DENIED:
        assert seen.denying


@given(_tallies, st.sampled_from([name for name in NAMES if name != "any_denial"]))
def test_turning_every_word_round_turns_the_verdict_round(seen: Tally, name: str):
    turned_stance = {ASSERTS: DENIES, DENIES: ASSERTS, None: None}
    turned = Tally(
        seen.denying,
        seen.asserting,
        seen.withholding,
        seen.denying_blocs,
        seen.asserting_blocs,
        turned_stance[seen.latest],
    )
    turned_state = {State.ASSERTED: State.DENIED, State.DENIED: State.ASSERTED, State.UNVERIFIED: State.UNVERIFIED}
    state, reason = policy(name).decide(seen)
    assert policy(name).decide(turned) == Verdict(turned_state[state], reason)


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_says_on_which_stances_it_rests(reason: Reason):
    assert grounds(reason) <= set(Stance)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelled", "id"),
    [
        *((name, f"{name}@1") for name in NAMES),
        ("unanimous@1", "unanimous@1"),
        ("unanimous@01", "unanimous@1"),
        ("unanimous:min_speakers=1", "unanimous@1"),
        ("unanimous@1:min_speakers=1,hedge_ratio=0", "unanimous@1"),
        ("unanimous:hedge_ratio=0.000", "unanimous@1"),
        ("unanimous:min_speakers=2", "unanimous@1:min_speakers=2"),
        ("unanimous:min_speakers=2.0", "unanimous@1:min_speakers=2"),
        ("unanimous:min_speakers=02", "unanimous@1:min_speakers=2"),
        ("unanimous:min_speakers=100", "unanimous@1:min_speakers=100"),
        ("unanimous:min_speakers=2,hedge_ratio=1.0", "unanimous@1:hedge_ratio=1,min_speakers=2"),
        ("unanimous@1:hedge_ratio=0.50", "unanimous@1:hedge_ratio=0.5"),
        ("corroborated:hedge_ratio=0.000001", "corroborated@1:hedge_ratio=0.000001"),
    ],
)
def test_a_policy_has_one_id_however_it_is_spelled(spelled: str, id: str):
    meant = policy(spelled)
    assert meant.id == id
    assert policy(id) == meant


def test_unanimous_is_the_default_and_all_five_have_a_name():
    assert DEFAULT == policy("unanimous").id == "unanimous@1"
    assert NAMES == ("unanimous", "corroborated", "majority", "latest", "any_denial")


@given(st.integers(1, 999_999), st.decimals(0, 999_999, places=6))
def test_the_id_of_a_policy_means_the_policy(speakers: int, ratio: Decimal):
    meant = policy(f"unanimous:hedge_ratio={ratio:f},min_speakers={speakers}")
    assert meant.parameters == {"min_speakers": speakers, "hedge_ratio": ratio}
    assert policy(meant.id) == meant


@pytest.mark.parametrize(
    ("id", "why"),
    [
        ("", "write a name, such as unanimous@1 or unanimous:min_speakers=2"),
        ("Unanimous", "write a name"),
        ("unanimous@", "write a name"),
        ("unanimous@one", "write a name"),
        ("unanimous@-1", "write a name"),
        ("unanimous:", "write a name"),
        ("unanimous\n", "write a name"),
        (" unanimous", "write a name"),
        ("unanimity", "the policies are unanimous, corroborated, majority, latest, any_denial"),
        ("unanimous@2", "unanimous has no version 2"),
        ("unanimous@0", "unanimous has no version 0"),
        ("unanimous:speakers=2", "unanimous has no parameter 'speakers'; its parameters are hedge_ratio, min_speakers"),
        ("majority:min_speakers=2", "majority has no parameter 'min_speakers'; it has no parameters"),
        ("unanimous:min_speakers=2,min_speakers=2", "min_speakers is given twice"),
        ("unanimous:min_speakers=2,", "unanimous has no parameter ''"),
        ("unanimous:min_speakers", "min_speakers must be a number such as 2 or 0.5, not ''"),
        ("unanimous:min_speakers=two", "min_speakers must be a number such as 2 or 0.5, not 'two'"),
        ("unanimous:min_speakers= 2", "min_speakers must be a number"),
        ("unanimous:min_speakers=2=3", "min_speakers must be a number"),
        ("unanimous:min_speakers=1e3", "min_speakers must be a number"),
        ("unanimous:min_speakers=1234567", "min_speakers must be a number"),
        ("unanimous:min_speakers=٢", "min_speakers must be a number"),
        ("unanimous:hedge_ratio=-1", "hedge_ratio must be a number"),
        ("unanimous:hedge_ratio=NaN", "hedge_ratio must be a number"),
        ("unanimous:hedge_ratio=Infinity", "hedge_ratio must be a number"),
        ("unanimous:hedge_ratio=.5", "hedge_ratio must be a number"),
        ("unanimous:min_speakers=0", "min_speakers must be a whole number from 1, not '0'"),
        ("unanimous:min_speakers=1.5", "min_speakers must be a whole number from 1, not '1.5'"),
    ],
)
def test_what_is_no_policy_is_refused_with_what_there_is(id: str, why: str):
    with pytest.raises(PolicyInvalid) as caught:
        policy(id)
    assert caught.value.code == "POLICY_INVALID"
    assert caught.value.policy == id
    assert str(caught.value).startswith(f"{id!r} is no policy: {why}")


def test_two_policies_of_one_id_are_equal_and_of_two_ids_differ():
    made: list[Policy] = [policy("unanimous"), policy("unanimous@1"), policy("unanimous:hedge_ratio=1")]
    assert made[0] == made[1] != made[2]
