"""Replay says what would be believed otherwise, and the digest whether two hold the same beliefs."""

import asyncio
import gc
import json
import random
from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from service import audit, log, projector
from service.audit import LeftOut, digests, replaying
from service.audit.folding import FIRST, Believed, believed, live_generation
from service.audit.recounting import HELD_MAX, NOTHING, recounted
from service.audit.replaying import STORED, Difference, Outcome
from service.database import engine as engines
from service.domain import events, merkle
from service.domain.article import Article
from service.domain.belief import Fold
from service.domain.errors import (
    BadArgument,
    EventUnfoldable,
    NothingProjected,
    NotYetProjected,
    SpeakerUnknown,
    TooBroad,
)
from service.domain.events import ArticleRecorded, ArticleRevised, Event, SpeakersMerged
from service.domain.policies import NAMES, Policy, Reason, State, policy
from service.domain.register import Register
from service.log import Stored
from service.projector import Projector
from tests import curated as building
from tests.builders import article, asserts, denies, retraction, withholds
from tests.conftest import Database
from tests.curated import adopted, curated, lifted, merged, ruled, same_speaker, undone
from tests.past_append import put
from tests.test_audit_verify import new_event
from tests.test_projector import EVERYTHING, catch_up, prepared


def entries(happened: Iterable[Article | Event]) -> list[Stored]:
    """What happened, as the log has it."""
    return [Stored(position, events.type_of(event), 1, events.encode(event)) for position, event in curated(*happened)]


def replayed(
    known: Sequence[Stored], under: Policy | None = None, *, leave_out: LeftOut = NOTHING, held_max: int = HELD_MAX
) -> dict[str, Outcome]:
    """What a replay of these entries makes of each claim; without a policy by the one in force."""
    later = [each for each in known if each.type != FIRST]
    with recounted(iter(later), iter(known), [leave_out], held_max=held_max) as made:
        found = list(replaying.outcomes(made, under or policy(made.outline.adopted), leave_out))
    assert [claim for claim, _ in found] == sorted({claim for claim, _ in found})
    return dict(found)


def outcomes(
    *happened: Article | Event, under: str | None = None, to: int | None = None, leave_out: LeftOut = NOTHING
) -> dict[str, tuple[Any, ...]]:
    """What a replay makes of what happened: state, reason and how many assert, deny and withhold."""
    made = replayed(entries(happened)[:to], None if under is None else policy(under), leave_out=leave_out)
    return {claim: (str(told[0]), str(told[1]), *told[2:]) for claim, told in made.items()}


def without(*speakers: str, outlets: Sequence[str] = (), rulings: bool = False) -> LeftOut:
    return LeftOut(frozenset(speakers), frozenset(outlets), rulings)


HAPPENED = (
    article("1", nato=asserts("a"), russia=denies("a")),
    article("2", by="itv-news", uk=asserts("a"), itself=withholds("b")),
)


# --- what is replayed -----------------------------------------------------------------------------


def test_a_replay_is_what_is_believed_with_how_many_stand_where():
    assert outcomes(*HAPPENED) == {
        "a": ("unverified", "CONFLICT", 2, 1, 0),
        "b": ("unverified", "ONLY_WITHHELD", 0, 0, 1),
    }


def test_a_replay_may_be_under_any_policy():
    assert outcomes(*HAPPENED, under="majority")["a"] == ("asserted", "OUTVOTED", 2, 1, 0)
    assert outcomes(*HAPPENED, under="unanimous:min_speakers=3")["a"][1] == "CONFLICT"


def test_without_a_policy_the_one_in_force_decides():
    happened = (*HAPPENED, adopted("majority"), adopted("any_denial"))
    assert outcomes(*happened)["a"][:2] == ("denied", "DENIED_BY_ANY")
    assert outcomes(*happened, to=3)["a"][:2] == ("asserted", "OUTVOTED")
    assert outcomes(*happened, to=2)["a"][:2] == ("unverified", "CONFLICT")


def test_a_replay_may_end_before_the_log_does():
    assert outcomes(*HAPPENED, to=1) == {"a": ("unverified", "CONFLICT", 1, 1, 0)}
    assert outcomes(*HAPPENED, to=0) == {}


@given(st.randoms(use_true_random=False), st.sampled_from((0, 1, 3, HELD_MAX)))
def test_a_replay_with_nothing_left_out_is_the_fold(random: random.Random, held_max: int):
    """However little of it is held in memory."""
    happened = building.some_log(random.choice, 12)
    fold = Fold(())
    for position, event in enumerate(happened, 1):
        fold.apply(event, position)
    for name in NAMES:
        made = replayed(entries(happened), policy(name), held_max=held_max)
        assert {claim: told[:2] for claim, told in made.items()} == dict(fold.verdicts(policy(name)))
        assert {claim: told[2:] for claim, told in made.items()} == {
            claim: stands.tally()[:3] for claim, stands in fold.claims.items()
        }


def test_what_cannot_be_read_or_folded_stops_a_replay_and_names_the_event():
    made = entries(HAPPENED)
    for damaged, why in [
        (Stored(2, "ArticleAnnounced", 1, b"{}"), "its type is not known here; upgrade onrecord"),
        (made[1]._replace(schema_version=2), "its schema version is newer than this program; upgrade onrecord"),
        (made[1]._replace(payload=b"{}"), "its payload is damaged"),
        (made[1]._replace(payload=made[1].payload[:-1]), "its payload is damaged"),
        (made[1]._replace(payload=made[1].payload.replace(b"asserts", b"insists")), "its payload is damaged"),
        (made[1]._replace(payload=made[1].payload.replace(b"2022-02-15", b"15-02-2022")), "ValueError: Invalid iso"),
    ]:
        with pytest.raises(EventUnfoldable, match=f"event 2 cannot be folded: .*{why}") as caught:
            replayed([made[0], damaged])
        assert (caught.value.position, caught.value.code) == (2, "EVENT_UNFOLDABLE")


@pytest.mark.parametrize(
    ("unlikely", "why"),
    [
        (article("1", revision=3), "revision 3 of https://example.org/1 follows revision 1"),
        (article("3", revision=2), "revision 2 of https://example.org/3 is not the next"),
        (merged("a", "a"), "a is merged into itself"),
        (undone(2), "no merge of position 2 is in force"),
        (lifted("a"), "KeyError"),
    ],
)
def test_no_replay_goes_on_as_no_log_does(unlikely: Article | Event, why: str):
    event = events.of_article(unlikely) if isinstance(unlikely, Article) else unlikely
    third = Stored(3, events.type_of(event), 1, events.encode(event))
    with pytest.raises(EventUnfoldable, match=f"event 3 cannot be folded: .*{why}"):
        replayed([*entries(HAPPENED), third])


def test_what_is_revised_and_recorded_twice_stops_a_replay():
    """Of what is never revised nothing is kept, so that only `verify` tells."""
    made = entries((*HAPPENED, article("1", revision=2, nato=denies("a"))))
    for again, why in [(made[0], "is not the next"), (made[2], "follows revision 2")]:
        with pytest.raises(EventUnfoldable, match=f"revision . of https://example.org/1 {why}"):
            replayed([*made, again._replace(position=4)])


def test_what_is_merged_twice_or_retracted_twice_stops_a_replay():
    for happened in ((*HAPPENED, merged("a", "b")), (*HAPPENED, retraction("1"))):
        made = entries(happened)
        with pytest.raises(EventUnfoldable, match="event 4 cannot be folded"):
            replayed([*made, made[-1]._replace(position=4)])


def test_the_collector_is_as_it_was_after_a_replay():
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            replayed(entries(HAPPENED))
            with pytest.raises(SpeakerUnknown):
                replayed(entries(HAPPENED), leave_out=without("nobody"))
            assert gc.isenabled() == enabled
        finally:
            gc.enable()


# --- leaving out ----------------------------------------------------------------------------------


def test_a_speaker_who_is_left_out_never_spoke():
    assert outcomes(*HAPPENED, leave_out=without("russia"))["a"] == ("asserted", "UNCONTRADICTED", 2, 0, 0)
    assert outcomes(*HAPPENED, leave_out=without("nato", "uk"))["a"] == ("denied", "UNCONTRADICTED", 0, 1, 0)


def test_a_claim_of_which_nobody_else_speaks_is_not_there():
    assert set(outcomes(*HAPPENED, leave_out=without("outlet:itv-news"))) == {"a"}
    assert outcomes(*HAPPENED, leave_out=without("nato", "russia", "uk", "outlet:itv-news")) == {}


def test_a_claim_that_others_spoke_of_and_took_back_is_still_there():
    happened = (*HAPPENED, article("3", nato=asserts("b")), retraction("3"))
    assert outcomes(*happened, leave_out=without("outlet:itv-news"))["b"] == ("unverified", "RETRACTED", 0, 0, 0)


def test_an_outlet_that_is_left_out_is_not_heard_whoever_it_quotes():
    assert outcomes(*HAPPENED, leave_out=without(outlets=["itv-news"])) == {"a": ("unverified", "CONFLICT", 1, 1, 0)}
    later = article("3", by="itv-news", published="2022-02-17", russia=asserts("a"))
    assert outcomes(*HAPPENED, later)["a"] == ("asserted", "UNCONTRADICTED", 3, 0, 0)
    # What the speaker said elsewhere counts again.
    assert outcomes(*HAPPENED, later, leave_out=without(outlets=["itv-news"]))["a"][:2] == ("unverified", "CONFLICT")


def test_an_outlet_is_left_out_by_the_revision_that_is_live():
    moved = article("1", by="itv-news", revision=2, nato=asserts("a"))
    assert outcomes(HAPPENED[0], moved, leave_out=without(outlets=["itv-news"]))["a"][1] == "RETRACTED"
    assert outcomes(HAPPENED[0], moved, leave_out=without(outlets=["daily-planet"]))["a"][:2] == (
        "asserted",
        "UNCONTRADICTED",
    )


def test_a_speaker_is_left_out_by_any_id_that_counts_for_the_same():
    happened = (*HAPPENED, same_speaker("nato", "uk"), article("3", published="2022-02-18", nato=asserts("a")))
    for id in ("nato", "uk"):
        assert outcomes(*happened, leave_out=without(id))["a"] == ("denied", "UNCONTRADICTED", 0, 1, 0)
    # As of a time before they were one, only the one.
    assert outcomes(*happened, to=2, leave_out=without("uk"))["a"] == ("unverified", "CONFLICT", 1, 1, 0)


def test_what_is_left_out_is_left_out_of_merged_claims_too():
    happened = (*HAPPENED, article("3", russia=denies("c")), merged("c", "b", opposite=True))
    assert outcomes(*happened)["b"] == ("asserted", "UNCONTRADICTED", 1, 0, 1)
    assert outcomes(*happened, leave_out=without("russia"))["b"] == ("unverified", "ONLY_WITHHELD", 0, 0, 1)
    assert outcomes(*happened, leave_out=without(outlets=["itv-news"]))["b"] == ("asserted", "UNCONTRADICTED", 1, 0, 0)


def test_rulings_may_be_left_out():
    happened = (*HAPPENED, ruled("a", State.DENIED))
    assert outcomes(*happened)["a"] == ("denied", "RULED", 2, 1, 0)
    assert outcomes(*happened, leave_out=without(rulings=True))["a"] == ("unverified", "CONFLICT", 2, 1, 0)
    assert outcomes(*happened, leave_out=without("russia"))["a"][:2] == ("denied", "RULED")


def test_who_is_not_on_record_cannot_be_left_out():
    """Otherwise a slip of the pen would say that it makes no difference."""
    with pytest.raises(SpeakerUnknown, match="nobody"):
        outcomes(*HAPPENED, leave_out=without("nobody"))
    with pytest.raises(BadArgument, match="no article on record is by the outlet nato"):
        outcomes(*HAPPENED, leave_out=without(outlets=["nato"]))
    with pytest.raises(SpeakerUnknown):
        outcomes(*HAPPENED, to=1, leave_out=without("uk"))


def _silenced(event: Event, outlet: str) -> Event:
    """The same article with nothing in it, if it is of this outlet."""
    if not isinstance(event, ArticleRecorded | ArticleRevised) or event.article.outlet.id != outlet:
        return event
    return event.model_copy(update={"article": event.article.model_copy(update={"claims": ()})})


@given(st.randoms(use_true_random=False), st.sampled_from(building.OUTLETS), st.sampled_from((0, 3, HELD_MAX)))
def test_leaving_an_outlet_out_is_as_if_its_articles_had_said_nothing(
    random: random.Random, outlet: str, held_max: int
):
    """Where everything is named by others too, so that what was decided can be decided."""
    named = {speaker: [withholds(claim, said="2022-02-01") for claim in building.CLAIMS] for speaker in ("nato", "uk")}
    other = next(each for each in building.OUTLETS if each != outlet)
    start: list[Event] = [
        events.of_article(article("n1", by=other, published="2022-02-02", itself=withholds("a"), **named)),
        events.of_article(article("n2", by=outlet, published="2022-02-02", itself=withholds("a"))),
    ]
    happened = [*start]
    register = Register()
    for position, event in enumerate(happened, 1):
        register.enter(event, position)
    for _ in range(14):
        event = building.some_step(random.choice, register)
        silent = f"outlet:{outlet}"
        if isinstance(event, SpeakersMerged) and silent in (event.speaker, event.into):
            continue
        if register.check(event) is None:
            happened.append(event)
            register.enter(event, len(happened))
    made = replayed(entries(happened), policy("majority"), leave_out=without(outlets=[outlet]), held_max=held_max)
    fold = Fold(())
    for position, event in enumerate(happened, 1):
        fold.apply(_silenced(event, outlet), position)
    assert {claim: told[:2] for claim, told in made.items()} == dict(fold.verdicts(policy("majority")))
    assert {claim: told[2:] for claim, told in made.items()} == {
        claim: stands.tally()[:3] for claim, stands in fold.claims.items()
    }


# --- differences ----------------------------------------------------------------------------------

_YES = Outcome(State.ASSERTED, Reason.UNCONTRADICTED, 1, 0, 0)
_MORE = Outcome(State.ASSERTED, Reason.UNCONTRADICTED, 2, 0, 0)
_NO = Outcome(State.DENIED, Reason.UNCONTRADICTED, 0, 1, 0)


def test_two_outcomes_go_by_claim_by_claim_wherever_either_has_more():
    def beside(before: dict[str, Outcome], after: dict[str, Outcome]) -> list[tuple[Any, ...]]:
        return list(replaying.side_by_side(iter(before.items()), iter(after.items())))

    assert beside(
        {"a": _YES, "b": _YES, "c": _YES, "d": _YES, "g": _NO}, {"b": _NO, "c": _YES, "e": _NO, "f": _MORE, "g": _NO}
    ) == [
        ("a", _YES, None),
        ("b", _YES, _NO),
        ("c", _YES, _YES),
        ("d", _YES, None),
        ("e", None, _NO),
        ("f", None, _MORE),
        ("g", _NO, _NO),
    ]
    assert beside({}, {"a": _YES}) == [("a", None, _YES)]
    assert beside({"a": _YES}, {}) == [("a", _YES, None)]
    assert beside({}, {}) == []


def test_a_claim_has_moved_if_its_state_or_reason_is_another():
    moved = {"b": (_YES, _NO), "c": (_YES, _MORE), "d": (_YES, None), "e": (None, _NO)}
    assert [claim for claim, (was, now) in moved.items() if Difference(claim, was, now).moved] == ["b", "d", "e"]


# --- from a database ------------------------------------------------------------------------------


def _record(engine: Engine, happened: Iterable[Article | Event]) -> None:
    with engine.begin() as conn:
        log.append_all(conn, [new_event(each) for each in happened])


def _project(engine: Engine, policies: Sequence[str] = NAMES) -> None:
    catch_up(engine, cycle([Projector(prepared(engine, policies))]))


def _compare(engine: Engine, **options: Any) -> audit.Comparison:
    with engine.connect() as conn:
        return audit.compare(conn, **options)


def test_what_is_replayed_reads_nothing_but_the_log(engine: Engine):
    _record(engine, HAPPENED)
    compared = _compare(engine, policy=policy("majority"))
    assert (compared.replay.policy, compared.against.policy, compared.stored) == ("majority@1", "unanimous@1", False)
    assert [(each.claim, each.before, each.after) for each in compared.differences] == [
        (
            "a",
            Outcome(State.UNVERIFIED, Reason.CONFLICT, 2, 1, 0),
            Outcome(State.ASSERTED, Reason.OUTVOTED, 2, 1, 0),
        )
    ]


def test_without_being_told_it_is_compared_with_the_same_without_what_was_changed(engine: Engine):
    _record(engine, (*HAPPENED, adopted("latest")))
    _project(engine)
    left_out = without("russia")
    for options, against in [
        ({}, ("latest@1", True)),
        ({"to": 2}, ("unanimous@1", True)),
        ({"policy": policy("majority")}, ("latest@1", False)),
        ({"policy": policy("majority"), "to": 2}, ("unanimous@1", False)),
        ({"leave_out": left_out}, ("latest@1", False)),
        ({"leave_out": left_out, "policy": policy("majority")}, ("majority@1", False)),
        ({"leave_out": left_out, "against": policy("majority")}, ("majority@1", False)),
        ({"leave_out": left_out, "against": STORED}, ("latest@1", True)),
        ({"policy": policy("majority"), "against": STORED}, ("majority@1", True)),
    ]:
        compared = _compare(engine, **options)
        assert (compared.against.policy, compared.stored) == against
        assert not compared.against.left_out


@pytest.mark.parametrize("seed", [600, 601, 602])
@pytest.mark.parametrize("id", ["majority", "corroborated", "unanimous:hedge_ratio=1,min_speakers=2"])
def test_what_is_stored_is_what_is_replayed_at_every_position(engine: Engine, seed: int, id: str):
    """Under a policy that is projected and under one that is not."""
    _record(engine, building.some_log(random.Random(seed).choice, 30))
    _project(engine, ["unanimous", "majority", "latest"])
    with engine.connect() as conn:
        for position in range(log.head(conn) + 1):
            compared = audit.compare(conn, policy=policy(id), to=position, against=STORED)
            assert compared.differences == []
            digest = audit.digest_stored(conn, policy(id), position=position)
            assert digest == audit.digest_of_log(conn, policy(id), position=position)
            assert digest.claims == compared.claims == compared.replay.claims == compared.against.claims


def test_what_is_stored_and_wrong_is_told(engine: Engine):
    _record(engine, HAPPENED)
    _project(engine)
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE onrecord_1.transition SET to_state = 'asserted' WHERE policy = 'unanimous@1'")
        conn.exec_driver_sql("UPDATE onrecord_1.tally SET denying = 7 WHERE claim = 'b'")
    compared = _compare(engine, against=STORED)
    assert {each.claim: (each.moved, each.before and each.before[:4]) for each in compared.differences} == {
        "a": (True, ("asserted", "CONFLICT", 2, 1)),
        "b": (True, ("asserted", "ONLY_WITHHELD", 0, 7)),
    }


def test_a_replay_is_compared_with_what_is_stored_at_the_same_position_only(engine: Engine):
    _record(engine, HAPPENED)
    with pytest.raises(NothingProjected):
        _compare(engine, against=STORED)
    prepared(engine)
    with pytest.raises(NotYetProjected):
        _compare(engine, against=STORED)
    assert _compare(engine, to=0, against=STORED).differences == []


@pytest.mark.parametrize("to", [3, -1, 10**9])
def test_only_what_is_on_record_is_replayed(engine: Engine, to: int):
    _record(engine, HAPPENED)
    with pytest.raises(BadArgument, match="the log goes from 0 to 2"):
        _compare(engine, to=to, policy=policy("majority"))


def test_a_request_may_be_bounded(engine: Engine):
    _record(engine, HAPPENED)
    assert _compare(engine, policy=policy("majority"), events_max=2).replay.position == 2
    assert _compare(engine, policy=policy("majority"), to=1, events_max=1).replay.position == 1
    with pytest.raises(TooBroad, match="2 events would have to be folded for this, and 1 may be"):
        _compare(engine, policy=policy("majority"), events_max=1)


def test_a_coroutine_replays_what_a_command_does(engine: Engine, database: Database):
    """They read the log in different ways."""
    _record(engine, building.some_log(random.Random(604).choice, 60))

    async def compared() -> audit.Comparison:
        reading = engines.create_async(database.service_url)
        async with reading.connect() as conn:
            made = await conn.run_sync(lambda conn: audit.compare(conn, policy=policy("latest")))
        await reading.dispose()
        return made

    assert asyncio.run(compared()) == _compare(engine, policy=policy("latest"))


def test_damage_is_named_and_never_guessed_over(engine: Engine, owner_engine: Engine):
    _record(engine, HAPPENED)
    put(owner_engine, merged("b", "b"))
    assert _compare(engine, to=2, policy=policy("majority")).replay.position == 2
    with engine.connect() as conn:
        with pytest.raises(EventUnfoldable) as caught:
            audit.compare(conn, policy=policy("majority"))
        # Whoever is told may go on asking in the same snapshot.
        assert log.head(conn) == 3
    assert caught.value.position == 3


# --- the digest -----------------------------------------------------------------------------------


def _believed(fold: Fold, under: Policy) -> list[Believed]:
    standing = [(claim, list(fold.claims[claim].by_speaker.values())) for claim in sorted(fold.claims)]
    return list(believed(standing, fold.rulings, under))


def test_a_digest_is_the_root_over_a_leaf_for_each_claim_in_order():
    happened = (*HAPPENED, article("3", by="itv-news", nato=denies("a-b"), uk=asserts("ab")), ruled("b", State.DENIED))
    fold = Fold(())
    for position, event in curated(*happened):
        fold.apply(event, position)
    under = policy("majority")
    told = _believed(fold, under)
    leaves = [
        ["a", "asserted", "OUTVOTED", [["nato", "asserts", 1, 0], ["russia", "denies", 1, 1], ["uk", "asserts", 2, 0]]],
        ["a-b", "denied", "UNCONTRADICTED", [["nato", "denies", 3, 0]]],
        ["ab", "asserted", "UNCONTRADICTED", [["uk", "asserts", 3, 1]]],
        ["b", "denied", "RULED", [["outlet:itv-news", "withholds", 2, 1]]],
    ]
    assert [digests.leaf(each) for each in told] == [
        json.dumps(each, separators=(",", ":")).encode() for each in leaves
    ]
    made = digests.digest_of(told, policy=under.id, position=4)
    assert made.root == merkle.root([digests.leaf(each) for each in told])
    assert (made.policy, made.position, made.claims) == ("majority@1", 4, 4)


def test_a_digest_of_nothing_is_the_root_of_no_leaves(engine: Engine):
    prepared(engine)
    with engine.connect() as conn:
        assert audit.digest_stored(conn) == audit.digest_of_log(conn)
        assert audit.digest_stored(conn) == audit.Digest("unanimous@1", 0, 0, merkle.EMPTY_ROOT)


def test_what_is_merged_away_has_no_leaf_and_counts_for_its_survivor():
    fold = Fold(())
    for position, event in curated(*HAPPENED, merged("b", "a", opposite=True), same_speaker("nato", "uk")):
        fold.apply(event, position)
    (told,) = _believed(fold, policy("unanimous"))
    assert digests.leaf(told) == (
        b'["a","unverified","CONFLICT",[["outlet:itv-news","withholds",2,1],["russia","denies",1,1],'
        b'["uk","asserts",2,0]]]'
    )


def test_whatever_could_be_believed_otherwise_changes_the_digest():
    fold = Fold(())
    for position, event in curated(*HAPPENED):
        fold.apply(event, position)
    (first, second) = _believed(fold, policy("unanimous"))
    (said, *others) = first.standing
    changed = [
        Believed(first.claim, next(fold.verdicts(policy("majority")))[1], first.counts, first.standing),
        Believed("c", first.verdict, first.counts, first.standing),
        Believed(first.claim, first.verdict, first.counts, others),
        Believed(first.claim, first.verdict, first.counts, [said._replace(ordinal=9), *others]),
        Believed(first.claim, first.verdict, first.counts, [said._replace(position=9), *others]),
    ]
    roots = {digests.digest_of([each, second], policy="", position=2).root for each in (first, *changed)}
    assert len(roots) == 6


def test_a_digest_of_what_is_not_projected_is_refused(engine: Engine):
    _record(engine, HAPPENED)
    with engine.connect() as conn, pytest.raises(NothingProjected):
        audit.digest_stored(conn)
    made = prepared(engine)
    with engine.begin() as conn:
        Projector(made).advance(conn, limit=1)
    with engine.connect() as conn:
        assert audit.digest_stored(conn).position == 1
        assert audit.digest_of_log(conn).position == 2
        with pytest.raises(NotYetProjected):
            audit.digest_stored(conn, position=2)
        with pytest.raises(BadArgument):
            audit.digest_of_log(conn, position=3)


def test_rows_and_generations_do_not_enter_a_digest(engine: Engine):
    happened = building.some_log(random.Random(603).choice, 30)
    _record(engine, happened)
    _project(engine)
    with engine.connect() as conn:
        first = audit.digest_stored(conn, policy("majority"))
    other = prepared(engine, ["majority"])
    with engine.begin() as conn:
        while Projector(other).advance(conn, limit=EVERYTHING).events:
            pass
        projector.promote(conn, other.generation)
    with engine.connect() as conn:
        assert audit.digest_stored(conn, policy("majority")) == first
        assert live_generation(conn).generation == other.generation


def test_several_outcomes_are_had_of_one_reading():
    left_out, known = without("russia"), entries(HAPPENED)
    with recounted(iter(()), iter(known), [left_out, NOTHING]) as made:
        for _ in range(2):
            assert dict(replaying.outcomes(made, policy("majority")))["a"][:2] == ("asserted", "OUTVOTED")
            assert dict(replaying.outcomes(made, policy("majority"), left_out))["a"][:2] == (
                "asserted",
                "UNCONTRADICTED",
            )


def test_how_many_claims_there_are_is_told_of_each_side(engine: Engine):
    _record(engine, HAPPENED)
    compared = _compare(engine, leave_out=without("outlet:itv-news"))
    assert (compared.replay.claims, compared.against.claims, compared.claims) == (1, 2, 2)
    compared = _compare(engine, leave_out=without("nato", "russia", "uk"))
    assert (compared.replay.claims, compared.against.claims, compared.claims) == (1, 2, 2)


def test_a_replay_is_read_claim_by_claim(engine: Engine):
    _record(engine, HAPPENED)
    with engine.connect() as conn:
        with audit.replay(conn, policy("majority"), to=1, leave_out=without("russia")) as made:
            assert next(made) == ("a", Outcome(State.ASSERTED, Reason.UNCONTRADICTED, 1, 0, 0))
            # The log is read by then, so other things may be asked.
            assert log.head(conn) == 2
            assert next(made, None) is None
        with pytest.raises(BadArgument), audit.replay(conn, policy("majority"), to=3):
            pass
