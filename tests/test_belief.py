"""Beliefs: what counts, what stands, and when a belief changes. Read down for the rules."""

from datetime import UTC, datetime

import pytest

from service.domain.belief import Move, RecordedStatement, Standing, standing
from service.domain.policies import NAMES, Tally
from tests.builders import (
    article,
    asserts,
    denies,
    document,
    folded,
    live_in,
    log,
    retraction,
    states,
    transitions,
    withholds,
)

ASSERTED = ("asserted", "UNCONTRADICTED")
DENIED = ("denied", "UNCONTRADICTED")
CONFLICT = ("unverified", "CONFLICT")
ONLY_WITHHELD = ("unverified", "ONLY_WITHHELD")
RETRACTED = ("unverified", "RETRACTED")


def _end_of(day: int) -> datetime:
    return datetime(2022, 2, day, 23, 59, 59, 999_999, tzinfo=UTC)


def _counted(*happened, claim: str = "a") -> tuple[int, int, int]:
    """How many speakers stand at asserts, denies and withholds."""
    fold, _ = folded(*happened)
    return fold.claims[claim].tally()[:3]


def _quoted(*happened, claim: str = "a") -> dict[str, tuple[str, int, int]]:
    """What stands, by speaker: stance, position and ordinal."""
    fold, _ = folded(*happened)
    return {
        speaker: (each.stance, each.position, each.ordinal) for speaker, each in fold.claims[claim].by_speaker.items()
    }


# --- what counts ----------------------------------------------------------------------------------


def test_one_speaker_is_enough_for_a_belief():
    assert states(article(nato=asserts("a"))) == {"a": ASSERTED}
    assert states(article(nato=denies("a"))) == {"a": DENIED}
    assert states(article(nato=withholds("a"))) == {"a": ONLY_WITHHELD}


def test_two_speakers_who_contradict_each_other_leave_a_claim_unverified():
    assert states(article(nato=asserts("a")), article(russia=denies("a"))) == {"a": CONFLICT}


def test_doubt_is_not_denial():
    assert states(article(nato=asserts("a")), article(uk=withholds("a"))) == {"a": ASSERTED}


def test_a_speaker_counts_once_however_often_they_are_quoted():
    assert _counted(*(article(f"{i}", nato=asserts("a")) for i in range(5))) == (1, 0, 0)


def test_stepping_back_counts():
    """A speaker who withdraws an assertion no longer supports the claim."""
    assert states(
        article(nato=asserts("troops-withdrawing")),
        article(nato=withholds("troops-withdrawing")),
    ) == {"troops-withdrawing": ONLY_WITHHELD}


def test_a_change_of_mind_counts_and_the_old_word_does_not():
    assert states(article(nato=asserts("a")), article(nato=denies("a"))) == {"a": DENIED}
    assert _counted(article(nato=asserts("a")), article(nato=denies("a"))) == (0, 1, 0)


def test_claims_are_apart():
    assert states(article(nato=[asserts("a"), denies("b")])) == {"a": ASSERTED, "b": DENIED}


def test_claims_come_in_byte_order_of_their_slugs():
    fold, _ = folded(*(article(nato=asserts(claim)) for claim in ("b", "a-b", "ab", "a")))
    assert [claim for claim, _ in fold.verdicts(fold.policies[0])] == ["a", "a-b", "ab", "b"]


# --- what stands: what was said last --------------------------------------------------------------


def test_a_late_article_about_an_older_remark_does_not_overtake_a_newer_one():
    assert states(
        article(published="2022-02-16", nato=denies("a")),
        article(published="2022-02-15", nato=asserts("a")),
    ) == {"a": DENIED}
    assert states(
        article(published="2022-02-16", nato=denies("a")),
        article(published="2022-02-17", nato=asserts("a", said="2022-02-15")),
    ) == {"a": DENIED}


def test_an_undated_remark_counts_as_said_when_its_article_came_out():
    assert states(
        article(published="2022-02-16", nato=denies("a", said="2022-02-14")),
        article(published="2022-02-15", nato=asserts("a")),
    ) == {"a": ASSERTED}


def test_an_instant_comes_before_the_rest_of_its_day():
    assert states(
        article(nato=denies("a")),
        article(nato=asserts("a", said="2022-02-15T23:00:00Z")),
    ) == {"a": DENIED}


def test_of_two_remarks_of_one_day_the_one_printed_later_stands():
    assert states(
        article(published="2022-02-17", nato=denies("a", said="2022-02-14")),
        article(published="2022-02-16", nato=asserts("a", said="2022-02-14")),
    ) == {"a": DENIED}


def test_arrival_decides_between_articles_that_their_dates_cannot_order():
    assert states(article(nato=denies("a")), article(nato=asserts("a"))) == {"a": ASSERTED}
    assert states(article(nato=asserts("a")), article(nato=denies("a"))) == {"a": DENIED}


def test_within_an_article_the_statement_printed_last_stands():
    assert states(article(nato=[asserts("a"), denies("a")])) == {"a": DENIED}
    assert states(article(nato=[denies("a"), asserts("a")])) == {"a": ASSERTED}


def test_within_an_article_dates_go_before_the_order_of_printing():
    assert states(article(nato=[asserts("a"), denies("a", said="2022-02-14")])) == {"a": ASSERTED}


def test_an_article_cannot_foresee():
    """A remark dated after its article counts at the article's date, so a later article overtakes it."""
    assert states(
        article(published="2022-02-15", nato=asserts("a", said="2022-12-31")),
        article(published="2022-02-16", nato=denies("a")),
    ) == {"a": DENIED}


# --- revisions ------------------------------------------------------------------------------------


def test_a_revision_takes_the_place_of_what_it_revises():
    assert states(
        article("x", nato=asserts("a"), uk=asserts("b")),
        article("x", revision=2, nato=denies("a")),
    ) == {"a": DENIED, "b": RETRACTED}


def test_a_mended_typo_does_not_overtake_a_newer_article():
    assert states(
        article("x", nato=asserts("a", quote="widhrawing")),
        article("y", nato=denies("a")),
        article("x", revision=2, change="reading", nato=asserts("a", quote="withdrawing")),
    ) == {"a": DENIED}


def test_what_a_revision_reports_of_a_later_day_overtakes():
    assert states(
        article("x", published="2022-02-15", nato=asserts("a")),
        article("y", published="2022-02-16", nato=denies("a")),
        article("x", revision=2, published="2022-02-15", revised="2022-02-17", nato=asserts("a", said="2022-02-17")),
    ) == {"a": ASSERTED}


def test_a_revision_that_drops_a_statement_brings_the_one_before_it_back():
    assert states(
        article("x", nato=asserts("a")),
        article("y", nato=denies("a")),
        article("y", revision=2, uk=withholds("a")),
    ) == {"a": ASSERTED}


def test_a_revision_may_hold_a_claim_that_is_new():
    assert states(article("x"), article("x", revision=2, nato=asserts("a"))) == {"a": ASSERTED}


def test_a_revision_that_says_the_same_changes_no_belief():
    same = {"nato": asserts("a"), "uk": withholds("a"), "itself": denies("b")}
    _, (first, second) = folded(article("x", **same), article("x", revision=2, **same))
    assert (len(first.transitions), second.transitions, second.tallies) == (2 * len(NAMES), [], {})


# --- retractions ----------------------------------------------------------------------------------


def test_a_claim_that_lost_its_last_statement_is_retracted_and_stays():
    assert states(article("x", nato=asserts("a")), retraction("x")) == {"a": RETRACTED}
    for policy in NAMES:
        assert states(article("x", nato=asserts("a")), retraction("x"), policy=policy) == {"a": RETRACTED}


def test_a_retraction_brings_the_earlier_statement_back():
    assert states(article("x", nato=asserts("a")), article("y", nato=denies("a")), retraction("y")) == {"a": ASSERTED}


def test_retracting_the_older_of_two_articles_changes_nothing():
    _, changes = folded(article("x", nato=asserts("a")), article("y", nato=denies("a")), retraction("x"))
    assert (changes[2].moves, changes[2].tallies, changes[2].transitions) == ([], {}, [])
    assert [each.claim for each in changes[2].ended] == ["a"]


def test_a_retraction_ends_a_conflict():
    assert states(article("x", nato=asserts("a")), article("y", russia=denies("a")), retraction("x")) == {"a": DENIED}


def test_a_retraction_takes_what_the_newest_revision_says():
    assert states(
        article("x", nato=asserts("a")),
        article("x", revision=2, uk=denies("b")),
        retraction("x"),
    ) == {"a": RETRACTED, "b": RETRACTED}


def test_a_retracted_article_may_come_back_with_its_next_revision():
    happened = article("x", nato=asserts("a")), retraction("x"), article("x", revision=2, nato=denies("a"))
    assert states(*happened) == {"a": DENIED}
    assert states(*happened, retraction("x")) == {"a": RETRACTED}


def test_an_article_that_came_back_keeps_its_first_place():
    assert states(
        article("x", nato=asserts("a")),
        article("y", nato=denies("a")),
        retraction("x"),
        article("x", revision=2, nato=asserts("a")),
    ) == {"a": DENIED}


def test_what_became_of_an_article_is_told():
    _, changes = folded(
        article("x", nato=asserts("a")),
        article("x", revision=2, nato=asserts("a")),
        retraction("x"),
        article("x", revision=3),
    )
    lives = [
        (life.first_position, life.revision, life.position, len(life.statements))
        for change in changes
        if (life := change.after)
    ]
    assert lives == [(1, 1, 1, 1), (1, 2, 2, 1), (1, 2, None, 0), (1, 3, 4, 0)]
    assert [change.before for change in changes] == [None, *(change.after for change in changes[:-1])]


def test_an_article_without_claims_changes_no_belief():
    assert states(article("x"), article("x", revision=2), retraction("x")) == {}


# --- speakers -------------------------------------------------------------------------------------


def test_an_outlet_can_speak_in_its_own_voice():
    assert _quoted(article(by="itv", itself=asserts("a"))) == {"outlet:itv": ("asserts", 1, 0)}


def test_an_outlet_that_corrects_itself_counts_once():
    assert states(article(by="itv", itself=asserts("a")), article(by="itv", itself=withholds("a"))) == {
        "a": ONLY_WITHHELD
    }


def test_two_outlets_are_two_voices():
    assert states(article(by="itv", itself=asserts("a")), article(by="bbc", itself=denies("a"))) == {"a": CONFLICT}


def test_a_speaker_named_like_an_outlet_is_somebody_else():
    assert _counted(article(by="itv", itself=asserts("a"), itv=denies("a"))) == (1, 1, 0)


def test_a_speaker_is_the_same_whoever_reports_them_and_however_they_are_called():
    other_name = {"id": "nato", "name": "The Alliance", "role": "Alliance"}
    assert _counted(article(by="itv", nato=asserts("a")), article(by="bbc", nato=asserts("a", speaker=other_name))) == (
        1,
        0,
        0,
    )


def test_a_claim_is_corroborated_from_two_blocs():
    def corroborated(*happened):
        return states(*happened, policy="corroborated")["a"]

    nato, uk = article(nato=asserts("a", bloc="west")), article(uk=asserts("a", bloc="west"))
    russia = article(russia=asserts("a", bloc="east"))
    assert corroborated(nato, uk) == ("unverified", "UNCORROBORATED")
    assert corroborated(nato, article(itself=asserts("a"), somebody=asserts("a"))) == ("unverified", "UNCORROBORATED")
    assert corroborated(nato, uk, russia) == ASSERTED


def test_the_bloc_is_that_of_the_standing_statement():
    """A late article about an older remark, or one on another claim, changes nobody's bloc."""
    now = [article(published="2022-02-16", x=asserts("a", bloc="west"), y=asserts("a", bloc="east"))]
    assert states(*now, policy="corroborated")["a"] == ASSERTED
    older = article(published="2022-02-15", y=asserts("a", bloc="west"))
    elsewhere = article(published="2022-02-17", y=asserts("b", bloc="west"))
    assert states(*now, older, elsewhere, policy="corroborated")["a"] == ASSERTED
    newer = article(published="2022-02-17", y=asserts("a", bloc="west"))
    assert states(*now, newer, policy="corroborated")["a"] == ("unverified", "UNCORROBORATED")


# --- transitions ----------------------------------------------------------------------------------


def _told(*happened, policy: str = "unanimous"):
    """Every transition: claim, position, verdict before and after."""
    return [
        (
            each.claim,
            each.position,
            each.before and f"{each.before.state} {each.before.reason}",
            each.after and f"{each.after.state} {each.after.reason}",
        )
        for each in transitions(*happened, policy=policy)
    ]


def test_a_belief_begins_from_nothing():
    assert _told(article(nato=withholds("a"))) == [("a", 1, None, "unverified ONLY_WITHHELD")]


def test_a_belief_changes_with_its_state_or_its_reason():
    assert _told(
        article("x", nato=withholds("a")),
        article("y", nato=asserts("a")),
        article("z", russia=denies("a")),
        retraction("y"),
        retraction("z"),
        retraction("x"),
    ) == [
        ("a", 1, None, "unverified ONLY_WITHHELD"),
        ("a", 2, "unverified ONLY_WITHHELD", "asserted UNCONTRADICTED"),
        ("a", 3, "asserted UNCONTRADICTED", "unverified CONFLICT"),
        # nato withholds again, and russia denies alone
        ("a", 4, "unverified CONFLICT", "denied UNCONTRADICTED"),
        ("a", 5, "denied UNCONTRADICTED", "unverified ONLY_WITHHELD"),
        ("a", 6, "unverified ONLY_WITHHELD", "unverified RETRACTED"),
    ]


def test_one_more_voice_changes_the_tally_and_not_the_belief():
    _, (_, second) = folded(article(nato=asserts("a")), article(uk=asserts("a")), policies=["unanimous"])
    assert second.transitions == []
    assert {claim: tally and tally[:3] for claim, tally in second.tallies.items()} == {"a": (2, 0, 0)}


def test_an_article_that_says_two_things_moves_a_belief_once():
    assert _told(article(nato=[asserts("a"), denies("a"), asserts("a")], russia=[denies("a"), withholds("a")])) == [
        ("a", 1, None, "asserted UNCONTRADICTED")
    ]


def test_a_claim_that_comes_back_was_retracted_before_and_not_unknown():
    assert _told(article("x", nato=asserts("a")), retraction("x"), article("x", revision=2, nato=asserts("a"))) == [
        ("a", 1, None, "asserted UNCONTRADICTED"),
        ("a", 2, "asserted UNCONTRADICTED", "unverified RETRACTED"),
        ("a", 3, "unverified RETRACTED", "asserted UNCONTRADICTED"),
    ]


def test_each_policy_has_its_own_transitions_in_order_of_claim():
    _, (first, second) = folded(
        article(nato=[asserts("b"), asserts("a")]),
        article(russia=denies("b")),
        policies=["unanimous", "any_denial", "majority"],
    )
    assert [(each.claim, each.policy) for each in first.transitions] == [
        (claim, policy) for claim in "ab" for policy in ("unanimous@1", "any_denial@1", "majority@1")
    ]
    assert [(each.policy, each.after and str(each.after.reason)) for each in second.transitions] == [
        ("unanimous@1", "CONFLICT"),
        ("any_denial@1", "DENIED_BY_ANY"),
        ("majority@1", "TIED"),
    ]


def test_the_last_word_may_change_while_the_tally_does_not():
    first = article(published="2022-02-16", nato=asserts("a", said="2022-02-14"), russia=denies("a", said="2022-02-15"))
    again = article(published="2022-02-16", nato=asserts("a", said="2022-02-16"))
    _, (_, second) = folded(first, again, policies=["latest", "unanimous"])
    assert second.tallies == {}
    assert [(each.policy, each.after and str(each.after.state)) for each in second.transitions] == [
        ("latest@1", "asserted")
    ]


def test_a_belief_changed_when_the_earliest_of_what_began_or_ceased_to_stand_was_said():
    dated = article(
        "x",
        published="2022-02-16",
        nato=asserts("a", said="2022-02-13"),
        uk=asserts("a", said="2022-02-12"),
    )
    (began,) = transitions(dated)
    assert (began.effective_at, began.retroactive) == (_end_of(12), False)
    (_, ended) = transitions(dated, retraction("x"))
    assert (ended.effective_at, ended.retroactive) == (_end_of(12), True)


def test_what_does_not_stand_does_not_date_a_change():
    (_, changed) = transitions(
        article(published="2022-02-14", nato=asserts("a")),
        article(published="2022-02-16", nato=asserts("a", said="2022-02-10"), russia=denies("a")),
    )
    assert changed.effective_at == _end_of(16)


def test_a_change_that_tells_of_a_time_before_the_latest_known_is_retroactive():
    known = article(published="2022-02-15", nato=asserts("a"))
    (_, late) = transitions(known, article(published="2022-02-16", russia=denies("a", said="2022-02-14")))
    assert (late.effective_at, late.retroactive) == (_end_of(14), True)
    (_, same_day) = transitions(known, article(published="2022-02-16", russia=denies("a", said="2022-02-15")))
    assert (same_day.effective_at, same_day.retroactive) == (_end_of(15), False)
    (_, later) = transitions(known, article(published="2022-02-16", russia=denies("a")))
    assert (later.effective_at, later.retroactive) == (_end_of(16), False)


def test_after_a_retraction_of_everything_nothing_is_retroactive():
    (*_, back) = transitions(
        article("x", published="2022-02-16", nato=asserts("a")),
        retraction("x"),
        article("y", published="2022-02-10", nato=asserts("a")),
    )
    assert (back.effective_at, back.retroactive) == (_end_of(10), False)


def test_what_goes_on_standing_does_not_date_a_change_even_where_it_was_handed_in_twice():
    """The projector reads the standing and the live statements apart: they are equal, and not the same objects."""
    happened = [
        article("x", published="2022-02-12", nato=asserts("a")),
        article("y", nato=asserts("a", said="2022-02-10"), russia=denies("a")),
    ]
    whole, _ = folded(*happened)
    part, _ = folded()
    part.articles = dict(whole.articles)
    part.claims = {"a": Standing(each._replace() for each in whole.claims["a"].by_speaker.values())}
    part.live = {
        claim: {speaker: [each._replace() for each in live] for speaker, live in of.items()}
        for claim, of in whole.live.items()
    }
    change = part.apply(retraction("y"), 3)
    assert [move.old and move.old.speaker for move in change.moves] == ["russia"]
    assert {(each.effective_at, each.retroactive) for each in change.transitions} == {(_end_of(15), False)}


def test_moves_name_what_gave_way_to_what():
    _, changes = folded(
        article("x", nato=asserts("a")), article("y", nato=denies("a")), retraction("y"), policies=["unanimous"]
    )
    ((none, first),), ((left, second),), (back,) = (change.moves for change in changes)
    assert none is None
    assert first is not None
    assert second is not None
    assert (first.position, second.position) == (1, 2)
    assert left == first
    assert back == Move(second, first)


# --- the standing statements of one claim ---------------------------------------------------------


def _statements(*happened) -> list[RecordedStatement]:
    fold, _ = folded(*happened, policies=[])
    return live_in(fold)


def test_the_greatest_key_stands_in_whatever_order_statements_come():
    live = _statements(
        article("x", nato=[asserts("a"), denies("a")]),
        article("y", published="2022-02-14", nato=withholds("a")),
        article("z", russia=denies("a", said="2022-02-13")),
    )
    stands = standing(live)
    assert {speaker: (each.position, each.ordinal) for speaker, each in stands.items()} == {
        "nato": (1, 1),
        "russia": (3, 0),
    }
    assert standing(reversed(live)) == stands


def test_nothing_stands_where_nothing_is_live():
    assert standing([]) == {}
    empty = Standing()
    assert (empty.tally(), empty.latest(), empty.last_effective_at()) == (Tally(), None, None)


def test_the_last_word_is_of_those_who_take_a_side_and_the_last_date_of_all():
    nato, russia, uk = _statements(
        article("x", published="2022-02-14", nato=asserts("a", bloc="west")),
        article("y", published="2022-02-15", russia=denies("a", bloc="east")),
        article("z", published="2022-02-16", uk=withholds("a", bloc="west")),
    )
    stands = Standing([nato, russia, uk])
    assert stands.tally() == Tally(1, 1, 1, 1, 1, russia.stance)
    assert (stands.latest(), stands.last_effective_at()) == (russia, _end_of(16))
    stands.move(russia, None)
    assert stands.tally() == Tally(1, 0, 1, 1, 0, nato.stance)
    assert (stands.latest(), stands.last_effective_at()) == (nato, _end_of(16))
    stands.move(uk, None)
    assert (stands.latest(), stands.last_effective_at()) == (nato, _end_of(14))
    stands.move(nato, None)
    assert (stands.tally(), stands.latest(), stands.last_effective_at()) == (Tally(), None, None)


# --- the builders themselves ----------------------------------------------------------------------


def test_a_log_that_could_not_be_is_not_built():
    for impossible in (
        [retraction("x")],
        [article("x"), retraction("x"), retraction("x")],
        [article("x"), article("x")],
        [article("x", revision=2)],
        [article("x"), article("x", revision=3)],
        [article(nato=asserts("a")), article(nato=asserts("a"))],
    ):
        with pytest.raises(ValueError, match=r"is live at|comes twice"):
            list(log(*impossible))


def test_a_built_document_is_one_that_a_client_could_send():
    assert document("x", by="itv-news", jens_stoltenberg=denies("a", bloc="nato", said="2022-02-14")) == {
        "url": "https://example.org/x",
        "outlet": {"id": "itv-news", "name": "Itv News"},
        "published_at": "2022-02-15",
        "revision": 1,
        "claims": [
            {
                "claim": "a",
                "proposition": "A.",
                "statements": [
                    {
                        "speaker": {"id": "jens-stoltenberg", "name": "Jens Stoltenberg", "bloc": "nato"},
                        "stance": "denies",
                        "quote": "they said so",
                        "said_at": "2022-02-14",
                    }
                ],
            }
        ],
    }
