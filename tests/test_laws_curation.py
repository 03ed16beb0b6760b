"""The laws of belief where people decide on what articles brought: merges, rulings, adoptions (design, section 5).

Random logs of few ids, so that they collide. `_Plain` says again, in the slowest and plainest
way, what the fold computes as it goes.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from service.domain import belief, events, moment
from service.domain.article import Article, Stance
from service.domain.belief import Change, Fold, RecordedStatement, Ruling, Span, Standing, Transition
from service.domain.errors import MergedAway, MergeInvalid, MergeUnknown, NotRuled, OnrecordError, RelationInvalid
from service.domain.events import (
    ArticleRecorded,
    ArticleRetracted,
    ArticleRevised,
    ClaimRuled,
    ClaimsMerged,
    ClaimsRelated,
    Event,
    MergeUndone,
    PolicyAdopted,
    Relation,
    RulingLifted,
    SpeakersMerged,
    TextErased,
)
from service.domain.merges import Kind, opposite_of
from service.domain.policies import NAMES, Policy, Reason, State, Tally, Verdict, policy
from service.domain.register import Refused, Register, Repeated
from service.tables import OPEN
from tests import curated as building
from tests.builders import article, asserts, denies, retraction, withholds
from tests.curated import (
    CLAIMS,
    SPEAKERS,
    adopted,
    curated,
    erased,
    lifted,
    merged,
    related,
    ruled,
    same_speaker,
    undone,
)

POLICIES: tuple[Policy, ...] = tuple(
    policy(id) for id in (*NAMES, "unanimous:hedge_ratio=0.5,min_speakers=2", "corroborated:hedge_ratio=1")
)
Log = Sequence[Event]


@st.composite
def _logs(draw: st.DrawFn, *, max_size: int = 14) -> list[Event]:
    """A valid log; most are long, as short ones break few laws."""
    steps, named = draw(st.integers(0, max_size)), draw(st.booleans())
    return building.some_log(lambda options: draw(st.sampled_from(options)), steps, named=named)


def _fold(happened: Log) -> Fold:
    fold = Fold(POLICIES)
    for position, event in enumerate(happened, 1):
        fold.apply(event, position)
    return fold


def _changes(happened: Log) -> list[Change]:
    fold = Fold(POLICIES)
    return [fold.apply(event, position) for position, event in enumerate(happened, 1)]


def _beliefs(fold: Fold) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (each.id, claim): (str(verdict.state), str(verdict.reason))
        for each in POLICIES
        for claim, verdict in fold.verdicts(each)
    }


def _placeless(fold: Fold, happened: Log) -> dict[str, Any]:
    """What stands on each claim and how it counts, with articles by URL and not by position."""
    return {
        claim: (
            stands.tally(),
            stands.last_effective_at(),
            {
                speaker: (each.stance, each.bloc, each.effective_at, _url(happened[each.position - 1]), each.ordinal)
                for speaker, each in stands.by_speaker.items()
            },
        )
        for claim, stands in fold.claims.items()
    }


def _url(event: Event) -> str:
    assert isinstance(event, ArticleRecorded | ArticleRevised)
    return event.article.url


# --- the same in the plainest way -----------------------------------------------------------------


@dataclass
class _Plain:
    """What stands after a log, worked out from nothing."""

    stands: dict[str, dict[str, RecordedStatement]]  #: of the claims that are there.
    rulings: dict[str, State]

    @classmethod
    def after(cls, happened: Log) -> "_Plain":
        first: dict[str, int] = {}
        newest: dict[str, tuple[int, Article | None]] = {}
        named: set[str] = set()
        into: dict[tuple[str, str], tuple[int, str, bool]] = {}
        rulings: dict[str, State] = {}
        for position, event in enumerate(happened, 1):
            match event:
                case ArticleRecorded(article=article) | ArticleRevised(article=article):
                    first.setdefault(article.url, position)
                    newest[article.url] = (position, article)
                    named |= {claim.claim for claim in article.claims}
                case ArticleRetracted(url=url):
                    newest[url] = (position, None)
                case ClaimsMerged(claim=claim, into=other, opposite=opposite):
                    into["claim", claim] = (position, other, opposite is True)
                case SpeakersMerged(speaker=speaker, into=other):
                    into["speaker", speaker] = (position, other, False)
                case MergeUndone(position=made):
                    into = {key: merge for key, merge in into.items() if merge[0] != made}
                case ClaimRuled(claim=claim, state=state):
                    rulings[claim] = state
                case RulingLifted(claim=claim):
                    del rulings[claim]
                case ClaimsRelated() | PolicyAdopted() | TextErased():
                    pass
        stands: dict[str, dict[str, RecordedStatement]] = {claim: {} for claim in named if ("claim", claim) not in into}
        for url, (position, article) in newest.items():
            if article is None:
                continue
            for ordinal, claim, said in article.statements():
                slug, stance = claim.claim, said.stance
                while ("claim", slug) in into:
                    _, slug, opposite = into["claim", slug]
                    stance = opposite_of(stance) if opposite else stance
                voice = said.speaker.id if said.speaker else f"outlet:{article.outlet.id}"
                while ("speaker", voice) in into:
                    voice = into["speaker", voice][1]
                placed = RecordedStatement(
                    claim=slug,
                    speaker=voice,
                    stance=stance,
                    bloc=said.speaker.bloc if said.speaker else None,
                    effective_at=article.effective_at(said),
                    published_end=moment.end(article.published_at),
                    first_position=first[url],
                    position=position,
                    ordinal=ordinal,
                )
                rival = stands[slug].get(voice)
                if rival is None or _rank(placed) > _rank(rival):
                    stands[slug][voice] = placed
        return cls(stands, rulings)

    def tally(self, claim: str) -> Tally:
        stands = self.stands[claim].values()
        sides = {stance: [each for each in stands if each.stance is stance] for stance in Stance}
        blocs = {stance: {each.bloc for each in side if each.bloc} for stance, side in sides.items()}
        last = max(sides[Stance.ASSERTS] + sides[Stance.DENIES], key=_rank, default=None)
        return Tally(
            len(sides[Stance.ASSERTS]),
            len(sides[Stance.DENIES]),
            len(sides[Stance.WITHHOLDS]),
            len(blocs[Stance.ASSERTS]),
            len(blocs[Stance.DENIES]),
            last and last.stance,
        )

    def verdict(self, claim: str, under: Policy) -> Verdict | None:
        if claim not in self.stands:
            return None
        if claim in self.rulings:
            return Verdict(self.rulings[claim], Reason.RULED)
        return under.decide(self.tally(claim))


def _rank(each: RecordedStatement) -> tuple[datetime, datetime, int, int]:
    return (each.effective_at, each.published_end, each.first_position, each.ordinal)


# --- the fold is right ----------------------------------------------------------------------------


@given(_logs())
def test_what_is_folded_as_it_comes_equals_what_is_worked_out_from_scratch(happened: Log):
    fold = Fold(POLICIES)
    before = _Plain({}, {})
    for position, event in enumerate(happened, 1):
        change = fold.apply(event, position)
        after = _Plain.after(happened[:position])
        assert {claim: stands.by_speaker for claim, stands in fold.claims.items()} == after.stands
        for claim, stands in fold.claims.items():
            assert stands.tally() == after.tally(claim)
            assert stands.last_effective_at() == max(
                (each.effective_at for each in after.stands[claim].values()), default=None
            )
        assert {claim: ruling.state for claim, ruling in fold.rulings.items()} == after.rulings
        _compare(change, before, after)
        before = after


def _compare(change: Change, before: _Plain, after: _Plain) -> None:
    """What the fold says has changed is what comparing before and after finds."""
    transitions: set[Transition] = set()
    tallies: dict[str, Tally | None] = {}
    for claim in before.stands.keys() | after.stands.keys():
        was = before.tally(claim) if claim in before.stands else None
        now = after.tally(claim) if claim in after.stands else None
        if was is None or now is None or was[:3] != now[:3]:
            tallies[claim] = now
        moved = set(before.stands.get(claim, {}).values()) ^ set(after.stands.get(claim, {}).values())
        effective_at = min((each.effective_at for each in moved), default=None)
        last = max((each.effective_at for each in before.stands.get(claim, {}).values()), default=None)
        late = effective_at is not None and last is not None and effective_at < last
        for each in POLICIES:
            was, now = before.verdict(claim, each), after.verdict(claim, each)
            if was != now:
                transitions.add(Transition(each.id, claim, change.position, was, now, effective_at, late))
    assert set(change.transitions) == transitions
    assert len(change.transitions) == len(transitions)
    assert change.tallies == tallies
    stood = {each for stands in before.stands.values() for each in stands.values()}
    stand = {each for stands in after.stands.values() for each in stands.values()}
    assert {move.old for move in change.moves if move.old} == stood - stand
    assert {move.new for move in change.moves if move.new} == stand - stood
    # One speaker on one claim moves at most once in an event, so that spans are well-formed.
    moving = [(each.claim, each.speaker) for move in change.moves for each in [move.old or move.new] if each]
    assert len(set(moving)) == len(moving) == len(change.moves)


@given(_logs())
def test_a_history_is_a_chain_that_begins_and_ends_with_nothing(happened: Log):
    """Nothing before a claim begins and nothing after it is merged away; it may begin again."""
    chains: dict[tuple[str, str], list[Transition]] = {}
    for change in _changes(happened):
        for each in change.transitions:
            chains.setdefault((each.policy, each.claim), []).append(each)
    for chain in chains.values():
        assert chain[0].before is None
        for one, other in pairwise(chain):
            assert one.position < other.position
            assert one.after == other.before
    last = {key: chain[-1].after for key, chain in chains.items() if chain[-1].after is not None}
    assert {key: (str(state), str(reason)) for key, (state, reason) in last.items()} == _beliefs(_fold(happened))


@given(_logs())
def test_every_standing_speaker_is_counted_once(happened: Log):
    for stands in _fold(happened).claims.values():
        assert sum(stands.tally()[:3]) == len(stands.by_speaker)


@given(_logs())
def test_a_history_retraced_from_what_stood_when_is_the_history(happened: Log):
    told: list[Transition] = []
    spans: list[tuple[int, int, RecordedStatement]] = []
    open_spans: dict[tuple[str, str], tuple[int, RecordedStatement]] = {}
    lives: dict[str, list[tuple[int, int]]] = {}
    rulings: dict[str, list[tuple[int, int, Ruling]]] = {}
    fold = Fold(POLICIES)
    for position, event in enumerate(happened, 1):
        there = set(fold.claims)
        change = fold.apply(event, position)
        told += change.transitions
        for old, new in change.moves:
            if old is not None:
                since, statement = open_spans.pop((old.claim, old.speaker))
                assert statement == old
                spans.append((since, position, old))
            if new is not None:
                open_spans[new.claim, new.speaker] = (position, new)
        for claim in fold.claims.keys() - there:
            lives.setdefault(claim, []).append((position, OPEN))
        for claim in there - fold.claims.keys():
            lives[claim][-1] = (lives[claim][-1][0], position)
        match event:
            case ClaimRuled(claim=claim) | RulingLifted(claim=claim):
                held = rulings.setdefault(claim, [])
                if held and held[-1][1] == OPEN:
                    held[-1] = (held[-1][0], position, held[-1][2])
                if isinstance(event, ClaimRuled):
                    held.append((position, OPEN, Ruling(claim, event.state, position)))
            case _:
                pass
    spans += [(since, OPEN, statement) for since, statement in open_spans.values()]
    for claim, held in lives.items():
        of_claim = [Span(*span) for span in spans if span[2].claim == claim]
        for rule in POLICIES[:5]:
            whole = [each for each in told if (each.claim, each.policy) == (claim, rule.id)]
            for until in {0, 1, len(happened) // 2, len(happened)}:
                expected = [each for each in whole if each.position <= until]
                for given_ in (of_claim, of_claim[::-1]):
                    found = belief.retrace(rule, claim, given_, lives=held, rulings=rulings.get(claim, []), until=until)
                    assert found == expected


# --- merges ---------------------------------------------------------------------------------------

#: An event of a log that is put together anew: where it is `int`, the undoing of the merge at that index.
_Draft = Event | int


def _placed(drafts: Sequence[_Draft | None]) -> list[Event]:
    """The log of what is not None; an undoing gets the position that its merge came to."""
    places: dict[int, int] = {}
    happened: list[Event] = []
    for index, each in enumerate(drafts):
        if each is None:
            continue
        happened.append(undone(places[each]) if isinstance(each, int) else each)
        places[index] = len(happened)
    return happened


def _drafts(happened: Log) -> list[_Draft]:
    return [each.position - 1 if isinstance(each, MergeUndone) else each for each in happened]


@st.composite
def _undone_merges(draw: st.DrawFn) -> tuple[list[Event], list[Event]]:
    """A log in which one merge is made and undone, anything before, between and after; and the log without the two."""

    def choose(options: Sequence[Any]) -> Any:
        return draw(st.sampled_from(options))

    happened = building.some_log(choose, draw(st.integers(2, 8)))
    register = Register()
    for position, event in enumerate(happened, 1):
        register.enter(event, position)
    possible = [
        each
        for each in (
            *(merged(a, b, opposite=flip) for a in CLAIMS for b in CLAIMS for flip in (False, True)),
            *(same_speaker(a, b) for a in _VOICES for b in _VOICES),
        )
        if register.check(each) is None
    ]
    assume(possible)
    merge = choose(possible)
    made = len(happened)
    for step in range(draw(st.integers(0, 6)) + draw(st.integers(0, 4)) + 1):
        event = merge if step == 0 else building.some_step(choose, register)
        if event == undone(made + 1):
            continue
        if register.check(event) is None:
            happened.append(event)
            register.enter(event, len(happened))
    cut = draw(st.integers(made + 1, len(happened)))
    # What was built on the merge cannot follow its undoing: leave out what would be refused then.
    drafts = _drafts(happened)
    whole: list[_Draft | None] = [*drafts[:cut], made]
    for draft in drafts[cut:]:
        shifted = draft + 1 if isinstance(draft, int) and draft >= cut else draft
        try:
            curated(*_placed([*whole, shifted]))
        except (ValueError, KeyError):
            whole.append(None)
        else:
            whole.append(shifted)
    without: list[_Draft | None] = [None if index in (made, cut) else each for index, each in enumerate(whole)]
    return _placed(whole), _placed(without)


_VOICES = ("nato", "russia", "uk", "outlet:itv", "outlet:bbc")


@given(_undone_merges())
def test_a_merge_that_is_undone_leaves_every_belief_as_if_it_had_never_been(logs: tuple[Log, Log]):
    with_it, without = logs
    assert len(with_it) == len(without) + 2
    curated(*without)
    assert _beliefs(_fold(with_it)) == _beliefs(_fold(without))
    assert _placeless(_fold(with_it), with_it) == _placeless(_fold(without), without)


@st.composite
def _with_two_claims(draw: st.DrawFn) -> list[Event]:
    """A log that has named two claims which are there."""
    happened = draw(_logs())
    assume({"a", "b"} <= _fold(happened).claims.keys())
    return happened


@given(_with_two_claims())
def test_a_merge_of_opposites_swaps_the_sides_of_what_is_merged(happened: Log):
    """Merged as the opposite equals merged as the same, had everybody said the opposite of it."""
    assume(not any(isinstance(each, ClaimsMerged | ClaimRuled) for each in happened))
    turned = [_turned(each, "a") for each in happened]
    for opposite in (False, True):
        one = _fold([*happened, merged("a", "b", opposite=opposite)])
        other = _fold([*turned, merged("a", "b", opposite=not opposite)])
        assert _beliefs(one) == _beliefs(other)
        assert {claim: stands.by_speaker for claim, stands in one.claims.items()} == {
            claim: stands.by_speaker for claim, stands in other.claims.items()
        }


def _turned(event: Event, slug: str) -> Event:
    """The same, with the sides swapped of all that is said on one claim."""
    if not isinstance(event, ArticleRecorded | ArticleRevised):
        return event
    claims = tuple(
        claim
        if claim.claim != slug
        else claim.model_copy(
            update={
                "statements": tuple(
                    said.model_copy(update={"stance": opposite_of(said.stance)}) for said in claim.statements
                )
            }
        )
        for claim in event.article.claims
    )
    return event.model_copy(update={"article": event.article.model_copy(update={"claims": claims})})


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_the_opposite_of_the_opposite_is_the_same(first: bool, second: bool):
    happened = [
        article("1", nato=asserts("a"), uk=denies("a"), itself=withholds("b")),
        article("2", russia=asserts("c")),
    ]
    chain = [merged("a", "b", opposite=first), merged("b", "c", opposite=second)]
    turned = first != second
    for each in ([*happened, *chain], [happened[0], happened[1], *chain[::-1]]):
        if each[-1] == chain[0]:
            # The survivor is merged away already, so it is merged into what that counts for.
            each[-1] = merged("a", "c", opposite=turned)
        fold = _fold([event for _, event in curated(*each)])
        sides = {speaker: said.stance for speaker, said in fold.claims["c"].by_speaker.items()}
        assert sides == {
            "nato": Stance.DENIES if turned else Stance.ASSERTS,
            "uk": Stance.ASSERTS if turned else Stance.DENIES,
            "outlet:daily-planet": Stance.WITHHOLDS,
            "russia": Stance.ASSERTS,
        }
        # Said of the first after all that, it goes the same way.
        late = events.of_article(article("3", published="2022-02-20", eu=asserts("a")))
        fold.apply(late, len(each) + 1)
        assert fold.claims["c"].by_speaker["eu"].stance == (Stance.DENIES if turned else Stance.ASSERTS)


@given(_with_two_claims(), st.booleans(), st.booleans())
def test_a_merge_before_an_article_equals_a_merge_after_it(happened: Log, opposite: bool, by_speaker: bool):
    """So a later article that still names what was merged counts for the survivor."""
    kinds = Fold(())
    for position, event in enumerate(happened, 1):
        kinds.apply(event, position)
    voices = [each for each in _VOICES if kinds.merges.of(Kind.SPEAKER, each) is None]
    said = {speaker: asserts("a", said="2022-02-16") for speaker in ("nato", "russia")}
    late = events.of_article(article("late", published="2022-02-18", uk=denies("a"), **said))
    merge = same_speaker("nato", "russia") if by_speaker else merged("a", "b", opposite=opposite)
    assume(not by_speaker or {"nato", "russia"} <= set(voices))
    named = events.of_article(article("early", published="2022-02-13", nato=asserts("a"), russia=asserts("a")))
    happened = [*happened, named]
    first, then = [*happened, merge, late], [*happened, late, merge]
    curated(*first)
    curated(*then)
    assert _beliefs(_fold(first)) == _beliefs(_fold(then))
    assert _placeless(_fold(first), first) == _placeless(_fold(then), then)


@given(_logs())
def test_what_stands_is_the_greatest_of_all_that_is_live_and_counts_for_the_survivor(happened: Log):
    """Chains of merges count for the last, with one turn of sides for each opposite on the way."""
    fold = _fold(happened)
    live = [each for of in fold.live.values() for said in of.values() for each in said]
    by_claim: dict[str, list[RecordedStatement]] = {claim: [] for claim in fold.claims}
    for each in live:
        counts = belief.counted(each, fold.merges)
        by_claim[counts.claim].append(counts)
    for claim, stands in fold.claims.items():
        assert belief.standing(by_claim[claim]) == stands.by_speaker


# --- rulings and adoptions ------------------------------------------------------------------------


@given(_logs(), st.sampled_from(CLAIMS), st.sampled_from(State))
def test_a_ruling_sets_the_state_under_every_policy_and_moves_no_tally(happened: Log, claim: str, state: State):
    fold = _fold(happened)
    assume(claim in fold.claims)
    known = fold.rulings.get(claim)
    assume(known is None or known.state != state)
    tallies = {slug: stands.tally() for slug, stands in fold.claims.items()}
    others = {key: told for key, told in _beliefs(fold).items() if key[1] != claim}
    change = fold.apply(ruled(claim, state), len(happened) + 1)
    assert (change.moves, change.tallies) == ([], {})
    assert {slug: stands.tally() for slug, stands in fold.claims.items()} == tallies
    found = _beliefs(fold)
    assert {key: told for key, told in found.items() if key[1] != claim} == others
    assert {told for key, told in found.items() if key[1] == claim} == {(str(state), "RULED")}
    assert {each.policy for each in change.transitions} == {each.id for each in POLICIES}
    assert all((each.effective_at, each.retroactive) == (None, False) for each in change.transitions)


@given(_logs(), st.sampled_from(CLAIMS), st.sampled_from(State))
def test_a_ruling_that_is_lifted_leaves_no_trace_in_any_belief(happened: Log, claim: str, state: State):
    fold = _fold(happened)
    assume(claim in fold.claims and claim not in fold.rulings)
    before = _beliefs(fold)
    fold.apply(ruled(claim, state), len(happened) + 1)
    fold.apply(lifted(claim), len(happened) + 2)
    assert _beliefs(fold) == before


@given(_with_two_claims(), st.sampled_from(State))
def test_a_ruling_sleeps_while_its_claim_is_merged_away_and_wakes_after(happened: Log, state: State):
    known = _fold(happened).rulings
    assume("a" not in known and "b" not in known)
    at = len(happened) + 1
    asleep = [*happened, ruled("a", state), merged("a", "b")]
    plain = [*happened, merged("a", "b")]
    assert _beliefs(_fold(asleep)) == _beliefs(_fold(plain))
    awake = _beliefs(_fold([*asleep, undone(at + 1)]))
    assert awake == _beliefs(_fold([*happened, ruled("a", state)]))


@given(_logs(), st.sampled_from([*NAMES, "unanimous:min_speakers=2"]))
@example([], "majority")
def test_what_only_decides_how_things_are_shown_moves_no_belief(happened: Log, id: str):
    fold = _fold(happened)
    before = _beliefs(fold)
    shown: list[Event] = [adopted(id), erased("f" * 64), related("a", "b", Relation.CONTRADICTS)]
    for position, event in enumerate(shown, len(happened) + 1):
        change = fold.apply(event, position)
        assert (change.moves, change.tallies, change.transitions) == ([], {}, [])
    assert _beliefs(fold) == before


# --- what does not matter -------------------------------------------------------------------------


@st.composite
def _shuffled(draw: st.DrawFn) -> tuple[list[Event], list[Event]]:
    """Two logs of the same articles, each of another day, in different order; what people decide stays where it was."""

    def choose(options: Sequence[Any]) -> Any:
        return draw(st.sampled_from(options))

    # Everything is named at first, so that every decision is possible wherever it stands.
    named = {speaker: [withholds(claim, said="2022-02-01") for claim in CLAIMS] for speaker in SPEAKERS}
    register = Register()
    firsts = [article(f"first-{by}", by=by, published="2022-02-02", **named) for by in building.OUTLETS]
    happened: list[Event] = [events.of_article(each) for each in firsts]
    for position, event in enumerate(happened, 1):
        register.enter(event, position)
    for _ in range(draw(st.integers(2, 10))):
        event = building.some_step(choose, register)
        if isinstance(event, ArticleRecorded | ArticleRevised):
            name = choose(("u", "v", "w"))
            revision = register.newest.get(f"https://example.org/{name}", 0) + 1
            published = f"2022-02-1{4 + 'uvw'.index(name)}"
            event = events.of_article(building.some_article(choose, name, revision, published=published))
        if register.check(event) is None:
            happened.append(event)
            register.enter(event, len(happened))
    movable = [i for i, each in enumerate(happened) if i > 1 and not isinstance(each, _DECISIONS)]
    queues: dict[str, list[Event]] = {}
    for i in movable:
        queues.setdefault(_name(happened[i]), []).append(happened[i])
    order = draw(st.permutations([_name(happened[i]) for i in movable]))
    otherwise = list(happened)
    for i, name in zip(movable, order, strict=True):
        otherwise[i] = queues[name].pop(0)
    return happened, otherwise


_DECISIONS = (
    TextErased,
    ClaimsMerged,
    SpeakersMerged,
    MergeUndone,
    ClaimsRelated,
    ClaimRuled,
    RulingLifted,
    PolicyAdopted,
)


def _name(event: Event) -> str:
    return event.url if isinstance(event, ArticleRetracted) else _url(event)


@given(_shuffled())
def test_the_order_in_which_articles_arrive_does_not_matter_whatever_is_decided_between(logs: tuple[Log, Log]):
    happened, otherwise = logs
    assert _beliefs(_fold(otherwise)) == _beliefs(_fold(happened))
    assert _placeless(_fold(otherwise), otherwise) == _placeless(_fold(happened), happened)


# --- two goes equal one ---------------------------------------------------------------------------


@given(_logs(), st.integers(0, 14))
def test_a_fold_goes_on_from_where_it_stopped(happened: Log, cut: int):
    fold = Fold(POLICIES)
    changes: list[Change] = []
    for position, event in enumerate(happened, 1):
        if position == cut:
            _beliefs(fold)  # looking changes nothing
        changes.append(fold.apply(event, position))
    assert changes == _changes(happened)


@given(_logs())
def test_a_fold_of_what_one_event_touches_makes_of_it_what_the_whole_fold_makes(happened: Log):
    """What `Fold` asks for of the past is enough: so the projector need not load more."""
    whole = Fold(POLICIES)
    for position, event in enumerate(happened, 1):
        part = _partial(whole, event)
        expected = whole.apply(event, position)
        assert part.apply(event, position) == expected
        for claim, stands in part.claims.items():
            assert stands.by_speaker == whole.claims[claim].by_speaker
            assert stands.tally() == whole.claims[claim].tally()


def _partial(whole: Fold, event: Event) -> Fold:
    """A fresh fold with what `Fold` asks for of the past and not a thing more; equal to it, never the same objects."""
    merges = whole.merges
    claims: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    made = Fold(whole.policies)
    for merge in merges:
        made.merges.add(merge)
    match event:
        case ArticleRecorded() | ArticleRevised() | ArticleRetracted():
            address = _name(event)
            life = whole.articles.get(address)
            ended = life.statements if life else []
            if life is not None:
                made.articles[address] = life._replace(statements=[each._replace() for each in ended])
            pairs = {(merges.claim(each.claim).id, merges.speaker(each.speaker)) for each in ended}
            claims = {claim for claim, _ in pairs}
            if not isinstance(event, ArticleRetracted):
                claims |= {merges.claim(claim.claim).id for claim in event.article.claims}
        case ClaimsMerged(claim=claim, into=other):
            claims = {claim, other}
        case SpeakersMerged(speaker=speaker):
            claims = {claim for claim, stands in whole.claims.items() if speaker in stands.by_speaker}
        case MergeUndone(position=position):
            merge = merges.at(position)
            assert merge is not None
            survivor = merges.survivor(merge.kind, merge.into).id
            if merge.kind is Kind.CLAIM:
                claims = {survivor, merge.merged}
                pairs = {(survivor, merges.speaker(voice)) for voice in _VOICES}
            else:
                claims = {claim for claim, stands in whole.claims.items() if survivor in stands.by_speaker}
                pairs = {(claim, survivor) for claim in claims}
        case ClaimRuled(claim=claim) | RulingLifted(claim=claim):
            claims = {claim}
        case ClaimsRelated() | PolicyAdopted() | TextErased():
            pass
    for claim in claims:
        if claim in whole.claims:
            made.claims[claim] = Standing(each._replace() for each in whole.claims[claim].by_speaker.values())
        if claim in whole.rulings:
            made.rulings[claim] = whole.rulings[claim]
    for claim, speaker in pairs:
        for member in merges.members(Kind.CLAIM, claim):
            for voice in merges.members(Kind.SPEAKER, speaker):
                said = whole.live.get(member, {}).get(voice)
                if said is not None:
                    made.live.setdefault(member, {})[voice] = [each._replace() for each in said]
    return made


# --- what the log refuses -------------------------------------------------------------------------

_BASE = (
    article("1", nato=asserts("a"), russia=denies("b"), uk=withholds("c")),
    article("2", itself=asserts("a")),
)


def _against(*happened: Article | Event) -> Any:
    """What speaks against the last of what happens."""
    register = Register()
    *before, last = [*_BASE, *happened]
    for position, event in curated(*before):
        register.enter(event, position)
    assert not isinstance(last, Article)
    return register.check(last)


def _error(*happened: Article | Event) -> OnrecordError:
    against = _against(*happened)
    assert isinstance(against, Refused)
    return against.error


@pytest.mark.parametrize(
    "event",
    [
        merged("a", "b"),
        merged("a", "b", opposite=True),
        same_speaker("nato", "uk"),
        same_speaker("outlet:daily-planet", "nato"),
        related("a", "b"),
        ruled("a", State.DENIED),
        adopted("majority"),
        erased("0" * 64),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_names_what_is_known_may_be_decided(event: Event):
    assert _against(event) is None


@pytest.mark.parametrize("event", [merged("a", "a"), same_speaker("nato", "nato")])
def test_nothing_is_merged_into_itself(event: Event):
    assert isinstance(_error(event), MergeInvalid)


def test_nothing_is_merged_in_a_circle():
    """Each end of a circle would be merged away already."""
    assert isinstance(_error(merged("a", "b"), merged("b", "a")), MergedAway)
    assert isinstance(_error(merged("a", "b"), merged("b", "c"), merged("c", "a")), MergedAway)
    assert isinstance(_error(same_speaker("nato", "uk"), same_speaker("uk", "nato")), MergedAway)


def test_nothing_is_merged_twice_or_into_what_is_merged_away():
    twice = _error(merged("a", "b"), merged("a", "c"))
    assert isinstance(twice, MergedAway)
    assert (twice.id, twice.into, twice.position) == ("a", "b", 3)
    assert isinstance(_error(merged("a", "b"), merged("a", "b")), MergedAway)
    assert isinstance(_error(merged("a", "b"), merged("c", "a")), MergedAway)
    assert isinstance(_error(same_speaker("nato", "uk"), same_speaker("russia", "nato")), MergedAway)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (merged("a", "nowhere"), "CLAIM_UNKNOWN"),
        (merged("nowhere", "a"), "CLAIM_UNKNOWN"),
        (merged("a", "nato"), "CLAIM_UNKNOWN"),
        (same_speaker("nato", "nobody"), "SPEAKER_UNKNOWN"),
        (same_speaker("a", "nato"), "SPEAKER_UNKNOWN"),
        (same_speaker("nato", "outlet:nowhere"), "SPEAKER_UNKNOWN"),
        (related("a", "nowhere"), "CLAIM_UNKNOWN"),
        (ruled("nowhere", State.DENIED), "CLAIM_UNKNOWN"),
        (lifted("nowhere"), "CLAIM_UNKNOWN"),
        (undone(1), "MERGE_UNKNOWN"),
        (undone(99), "MERGE_UNKNOWN"),
        (lifted("a"), "NOT_RULED"),
        (related("a", "a"), "RELATION_INVALID"),
    ],
)
def test_what_names_nothing_that_is_known_is_refused(event: Event, code: str):
    assert _error(event).code == code


def test_a_merge_is_undone_once_and_may_be_made_again():
    assert _against(merged("a", "b"), undone(3)) is None
    again = _error(merged("a", "b"), undone(3), undone(3))
    assert isinstance(again, MergeUnknown)
    assert (again.position, again.undone_at) == (3, 4)
    assert _against(merged("a", "b"), undone(3), merged("a", "b")) is None
    assert _against(merged("a", "b"), undone(3), merged("b", "a")) is None


def test_a_merge_under_another_can_be_undone_by_itself():
    assert _against(merged("a", "b"), merged("b", "c"), undone(3)) is None
    assert _against(merged("a", "b"), merged("b", "c"), undone(4)) is None


def test_a_claim_that_is_merged_away_is_not_ruled_on():
    assert isinstance(_error(merged("a", "b"), ruled("a", State.DENIED)), MergedAway)
    assert isinstance(_error(ruled("a", State.DENIED), merged("a", "b"), lifted("a")), MergedAway)
    assert _against(ruled("a", State.DENIED), merged("a", "b"), undone(4), lifted("a")) is None


def test_a_ruling_is_lifted_once():
    assert isinstance(_error(ruled("a", State.DENIED), lifted("a"), lifted("a")), NotRuled)


def test_claims_may_be_related_that_are_merged_away_but_none_to_itself():
    assert _against(merged("a", "b"), related("a", "c")) is None
    assert isinstance(_error(merged("a", "b"), related("a", "a")), RelationInvalid)


def test_the_same_again_is_a_repeat_and_names_the_first():
    assert _against(ruled("a", State.DENIED), ruled("a", State.DENIED)) == Repeated(3)
    assert _against(related("a", "b"), related("a", "b")) == Repeated(3)
    assert _against(adopted("majority"), adopted("majority@1")) == Repeated(3)
    assert _against(erased("0" * 64), erased("0" * 64)) == Repeated(3)


def test_what_differs_is_no_repeat():
    assert _against(ruled("a", State.DENIED), ruled("a", State.ASSERTED)) is None
    assert _against(ruled("a", State.DENIED), ruled("b", State.DENIED)) is None
    assert _against(ruled("a", State.DENIED), lifted("a"), ruled("a", State.DENIED)) is None
    assert _against(adopted("majority"), adopted("latest"), adopted("majority")) is None
    assert _against(related("a", "b"), related("b", "a")) is None
    assert _against(related("a", "b"), related("a", "b", Relation.CONTRADICTS)) is None


@pytest.mark.parametrize(
    "happened",
    [
        [merged("a", "a")],
        [merged("a", "nowhere")],
        [merged("nowhere", "a")],
        [merged("a", "b"), merged("a", "c")],
        [merged("a", "b"), merged("b", "a")],
        [same_speaker("nato", "nato")],
        [same_speaker("nato", "uk"), same_speaker("nato", "russia")],
        [ruled("nowhere", State.DENIED)],
        [undone(1)],
        [merged("a", "b"), undone(3), undone(3)],
        [lifted("a")],
        [merged("a", "b"), ruled("a", State.DENIED)],
        [retraction("1"), retraction("1")],
    ],
)
def test_the_fold_stops_at_what_no_log_holds(happened: list[Event]):
    """And has taken in nothing of it."""
    fold = Fold(POLICIES)
    base = [events.of_article(each) for each in _BASE]
    *before, last = [*base, *happened]
    for position, event in enumerate(before, 1):
        fold.apply(event, position)
    found = _beliefs(fold)
    with pytest.raises(ValueError, match=r"\w"):
        fold.apply(last, len(before) + 1)
    assert _beliefs(fold) == found


def test_the_random_logs_hold_everything_that_may_happen():
    """Otherwise the laws above would hold of nothing."""
    found: set[type[Event]] = set()
    flipped = 0
    for seed in range(60):
        happened = building.some_log(random.Random(seed).choice, 14)
        found |= {type(each) for each in happened}
        flipped += any(isinstance(each, ClaimsMerged) and each.opposite for each in happened)
    assert found == {ArticleRecorded, ArticleRevised, ArticleRetracted, *_DECISIONS}
    assert flipped > 10
