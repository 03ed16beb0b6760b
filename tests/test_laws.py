"""The laws of belief (design, section 5), over random logs of few articles, claims, speakers and dates.

Few of each, so that they collide: that is where laws break. `_Plain` says again, in the
slowest and plainest way, what the fold computes as it goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from service.domain import article as documents
from service.domain import belief, events, moment
from service.domain.article import Article, Stance, same_content, same_revision
from service.domain.belief import Fold, RecordedStatement, Standing, Transition
from service.domain.events import ArticleRecorded, ArticleRetracted, ArticleRevised, Event
from service.domain.policies import NAMES, Policy, Reason, State, Tally, policy
from tests.builders import QUOTE, live_in, log, retraction, url

POLICIES: tuple[Policy, ...] = tuple(
    policy(id) for id in (*NAMES, "unanimous:hedge_ratio=0.5,min_speakers=2", "corroborated:hedge_ratio=1")
)
Happened = Sequence[Article | Event]

# --- random logs ----------------------------------------------------------------------------------

_URLS = ("u", "v", "w")
_CLAIMS = ("a", "b")
_SPEAKERS = (None, "nato", "russia", "uk")
_MOMENTS = ("2022-02-14", "2022-02-15T09:00:00Z", "2022-02-15", "2022-02-15T23:59:59.999999Z", "2022-02-17")

_statements = st.tuples(
    st.sampled_from(_CLAIMS),
    st.sampled_from(_SPEAKERS),
    st.sampled_from(Stance),
    st.sampled_from((None, "west", "east")),
    st.sampled_from((None, *_MOMENTS)),
)
_contents = st.tuples(
    st.sampled_from(("itv", "bbc")),
    st.sampled_from(_MOMENTS),  # published
    st.sampled_from((None, *_MOMENTS)),  # revised
    st.lists(_statements, max_size=6),
)


def _article(name: str, revision: int, content: Any, *, published: str | None = None) -> Article:
    outlet, published_at, revised_at, statements = content
    claims: dict[str, list[dict[str, Any]]] = {}
    for claim, speaker, stance, bloc, said_at in statements:
        claims.setdefault(claim, []).append(
            {
                "speaker": speaker and {"id": speaker, "name": speaker, "bloc": bloc},
                "stance": str(stance),
                "said_at": said_at,
                "quote": QUOTE,
            }
        )
    return documents.parse(
        {
            "url": url(name),
            "outlet": {"id": outlet, "name": outlet},
            "published_at": published or published_at,
            "revision": revision,
            "revised_at": revised_at if revision > 1 else None,
            "claims": [{"claim": claim, "proposition": "P.", "statements": each} for claim, each in claims.items()],
        }
    )


#: Most steps say something, and most logs are long: short ones break few laws.
_steps = st.integers(0, 10).flatmap(
    lambda length: st.lists(
        st.tuples(st.sampled_from(_URLS), _contents, st.sampled_from((False, False, False, True))),
        min_size=length,
        max_size=length,
    )
)


@st.composite
def _logs(draw: st.DrawFn, *, dates_order: bool = False) -> list[Article | Event]:
    """A valid log: a step is an article's next revision, or its retraction where there is something to retract.

    With `dates_order` no two articles were published at the same time, so their dates can order them.
    """
    happened: list[Article | Event] = []
    revisions: dict[str, int] = {}
    live: set[str] = set()
    for name, content, retracted in draw(_steps):
        if not retracted:
            revisions[name] = revisions.get(name, 0) + 1
            published = f"2022-02-1{4 + _URLS.index(name)}" if dates_order else None
            happened.append(_article(name, revisions[name], content, published=published))
            live.add(name)
        elif name in live:
            happened.append(retraction(name))
            live.remove(name)
    return happened


def _name(each: Article | Event) -> str:
    if isinstance(each, Article | ArticleRetracted):
        return each.url
    assert isinstance(each, ArticleRecorded | ArticleRevised)
    return each.article.url


def _fold(happened: Happened) -> Fold:
    fold = Fold(POLICIES)
    for event, position in _entries(happened):
        fold.apply(event, position)
    return fold


def _entries(happened: Happened) -> list[tuple[Event, int]]:
    return [(event, position) for position, event in log(*happened)]


# --- the same in the plainest way -----------------------------------------------------------------


@dataclass
class _Plain:
    """What is live and what stands after a log, worked out from nothing."""

    live: list[RecordedStatement]
    claims: set[str]  #: all that were ever named.

    @classmethod
    def after(cls, happened: Happened) -> "_Plain":
        first: dict[str, int] = {}
        newest: dict[str, tuple[int, Article | None]] = {}
        named: set[str] = set()
        for position, each in enumerate(happened, 1):
            first.setdefault(_name(each), position)
            newest[_name(each)] = (position, each if isinstance(each, Article) else None)
            if isinstance(each, Article):
                named |= {claim.claim for claim in each.claims}
        live: list[RecordedStatement] = []
        for address, (position, article) in newest.items():
            if article is None:
                continue
            for ordinal, claim, statement in article.statements():
                live.append(
                    RecordedStatement(
                        claim=claim.claim,
                        speaker=statement.speaker.id if statement.speaker else f"outlet:{article.outlet.id}",
                        stance=statement.stance,
                        bloc=statement.speaker.bloc if statement.speaker else None,
                        effective_at=article.effective_at(statement),
                        published_end=moment.end(article.published_at),
                        first_position=first[address],
                        position=position,
                        ordinal=ordinal,
                    )
                )
        return cls(live, named)

    def of(self, claim: str) -> list[RecordedStatement]:
        return [each for each in self.live if each.claim == claim]

    def stands(self, claim: str) -> dict[str, RecordedStatement]:
        ranked = sorted(self.of(claim), key=lambda s: (s.effective_at, s.published_end, s.first_position, s.ordinal))
        return {each.speaker: each for each in ranked}

    def tally(self, claim: str) -> Tally:
        stands = self.stands(claim).values()
        sides = {stance: [each for each in stands if each.stance is stance] for stance in Stance}
        blocs = {stance: {each.bloc for each in side if each.bloc} for stance, side in sides.items()}
        decisive = sides[Stance.ASSERTS] + sides[Stance.DENIES]
        last = max(decisive, key=lambda s: (s.effective_at, s.published_end, s.first_position, s.ordinal), default=None)
        return Tally(
            len(sides[Stance.ASSERTS]),
            len(sides[Stance.DENIES]),
            len(sides[Stance.WITHHOLDS]),
            len(blocs[Stance.ASSERTS]),
            len(blocs[Stance.DENIES]),
            last and last.stance,
        )

    def last_effective_at(self, claim: str) -> datetime | None:
        return max((each.effective_at for each in self.of(claim)), default=None)


def _beliefs(fold: Fold) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (policy.id, claim): (str(verdict.state), str(verdict.reason))
        for policy in POLICIES
        for claim, verdict in fold.verdicts(policy)
    }


def _placeless(fold: Fold, happened: Happened) -> dict[str, Any]:
    """What stands on each claim and how it counts, with articles by URL and not by position."""
    urls = {position: _name(each) for position, each in enumerate(happened, 1)}
    return {
        claim: (
            stands.tally(),
            stands.last_effective_at(),
            {
                speaker: (each.stance, each.bloc, each.effective_at, urls[each.position], each.ordinal)
                for speaker, each in stands.by_speaker.items()
            },
        )
        for claim, stands in fold.claims.items()
    }


# --- the fold is right ----------------------------------------------------------------------------


@given(_logs())
def test_what_is_counted_as_it_comes_equals_what_is_counted_from_scratch(happened: Happened):
    fold = Fold(POLICIES)
    for event, position in _entries(happened):
        fold.apply(event, position)
        plain = _Plain.after(happened[:position])
        assert set(live_in(fold)) == set(plain.live)
        assert fold.claims.keys() == plain.claims
        for claim, stands in fold.claims.items():
            assert stands.by_speaker == plain.stands(claim)
            assert stands.tally() == plain.tally(claim)
            assert stands.last_effective_at() == plain.last_effective_at(claim)
            latest = stands.latest()
            decisive = [each for each in plain.stands(claim).values() if each.decisive]
            assert latest == max(decisive, key=lambda each: each.key, default=None)


@given(_logs())
def test_nobody_needs_to_look_in_between_for_the_count_to_be_right(happened: Happened):
    """The count keeps notes of what to search anew; they must hold through many moves unread."""
    whole = _fold(happened)
    moves = [move for event, position in _entries(happened) for move in _replayed(happened, position)]
    unread: dict[str, Standing] = {claim: Standing() for claim in whole.claims}
    for move in moves:
        either = move.new or move.old
        assert either is not None
        unread[either.claim].move(move.old, move.new)
    for claim, stands in whole.claims.items():
        assert unread[claim].by_speaker == stands.by_speaker
        assert unread[claim].last_effective_at() == stands.last_effective_at()
        assert unread[claim].latest() == stands.latest()
        assert unread[claim].tally() == stands.tally()


@given(_logs(), st.integers(0, 10))
def test_nobody_needs_to_know_all_who_stand_for_the_count_to_be_right(happened: Happened, cut: int):
    """The projector knows of a claim that many stand on how many they are, and meets those who are spoken of."""
    stored = _fold(happened[:cut]).claims
    summed: dict[str, Standing] = {}
    for claim, stands in stored.items():
        latest, all_who_stand = stands.latest(), list(stands.by_speaker.values())
        summed[claim] = Standing.summed(stands.sums(), latest)
        summed[claim].all_stored = lambda all_who_stand=all_who_stand: all_who_stand
    for position in range(cut + 1, len(happened) + 1):
        for move in _replayed(happened, position):
            either = move.new or move.old
            assert either is not None
            stands = summed.setdefault(either.claim, Standing())
            if not stands.met(either.speaker):
                stands.meet(either.speaker, move.old)
            stands.move(move.old, move.new)
        for claim, whole in _fold(happened[:position]).claims.items():
            found = summed.setdefault(claim, Standing())
            assert found.by_speaker.items() <= whole.by_speaker.items()
            assert found.speakers == len(whole.by_speaker)
            assert (found.tally(), found.latest(), found.sums()) == (whole.tally(), whole.latest(), whole.sums())


def _replayed(happened: Happened, position: int) -> list[belief.Move]:
    fold = Fold(())
    change = None
    for event, at in _entries(happened[:position]):
        change = fold.apply(event, at)
    return change.moves if change else []


@given(_logs())
def test_standing_by_itself_equals_standing_in_the_fold(happened: Happened):
    fold = _fold(happened)
    for claim, stands in fold.claims.items():
        live = [each for each in live_in(fold) if each.claim == claim]
        assert belief.standing(live) == stands.by_speaker
        assert Standing(belief.standing(live).values()).tally() == stands.tally()


@given(_logs())
def test_every_standing_speaker_is_counted_once(happened: Happened):
    for stands in _fold(happened).claims.values():
        tally = stands.tally()
        assert tally.asserting + tally.denying + tally.withholding == len(stands.by_speaker)
        assert tally.asserting_blocs <= tally.asserting
        assert tally.denying_blocs <= tally.denying
        assert (tally.latest is None) == (tally.asserting + tally.denying == 0)


@given(_logs())
def test_transitions_are_what_comparing_before_and_after_finds(happened: Happened):
    fold = Fold(POLICIES)
    before = _Plain.after([])
    for event, position in _entries(happened):
        change = fold.apply(event, position)
        after = _Plain.after(happened[:position])
        expected: list[Transition] = []
        tallies: dict[str, Tally] = {}
        for claim in sorted(after.claims):
            begins = claim not in before.claims
            if begins or before.tally(claim)[:3] != after.tally(claim)[:3]:
                tallies[claim] = after.tally(claim)
            moved = set(before.stands(claim).values()) ^ set(after.stands(claim).values())
            last = before.last_effective_at(claim)
            for each in POLICIES:
                was = None if begins else each.decide(before.tally(claim))
                now = each.decide(after.tally(claim))
                if was == now:
                    continue
                effective_at = min(statement.effective_at for statement in moved)
                retroactive = last is not None and effective_at < last
                expected.append(Transition(each.id, claim, position, was, now, effective_at, retroactive))
        assert change.transitions == expected
        assert change.tallies == tallies
        assert len({(each.claim, each.policy) for each in change.transitions}) == len(change.transitions)
        ended, began = set(before.live) - set(after.live), set(after.live) - set(before.live)
        assert (set(change.ended), set(change.began)) == (ended, began)
        moved_off = {move.old for move in change.moves if move.old}
        moved_on = {move.new for move in change.moves if move.new}
        stood = {each for claim in before.claims for each in before.stands(claim).values()}
        stand = {each for claim in after.claims for each in after.stands(claim).values()}
        assert (moved_off, moved_on) == (stood - stand, stand - stood)
        before = after


@given(_logs())
def test_a_history_is_a_chain(happened: Happened):
    fold = Fold(POLICIES)
    last: dict[tuple[str, str], Any] = {}
    for event, position in _entries(happened):
        for each in fold.apply(event, position).transitions:
            assert each.position == position
            assert each.before == last.get((each.policy, each.claim))
            assert each.after != each.before
            last[each.policy, each.claim] = each.after
    assert {key: (str(verdict.state), str(verdict.reason)) for key, verdict in last.items()} == _beliefs(fold)


# --- two goes equal one ---------------------------------------------------------------------------


def _partial(fold: Fold, coming: Sequence[tuple[Event, int]]) -> Fold:
    """A fresh fold with what `Fold` asks for of the past and not a thing more; equal to it, never the same objects."""
    named: set[str] = set()
    claims: set[str] = set()
    may_lose: set[tuple[str, str]] = set()
    begun: dict[str, set[tuple[str, str]]] = {}
    for event, _ in coming:
        address = _name(event)
        if address not in named:
            named.add(address)
            known = fold.articles.get(address)
            begun[address] = {(each.claim, each.speaker) for each in known.statements} if known else set()
        may_lose |= begun[address]
        claims |= {claim for claim, _ in begun[address]}
        begun[address] = set()
        if isinstance(event, ArticleRecorded | ArticleRevised):
            article = event.article
            begun[address] = {(claim.claim, article.speaker_of(each)) for _, claim, each in article.statements()}
            claims |= {claim.claim for claim in article.claims}
    made = Fold(fold.policies)
    for address in named & fold.articles.keys():
        life = fold.articles[address]
        made.articles[address] = life._replace(statements=[each._replace() for each in life.statements])
    for claim in claims & fold.claims.keys():
        made.claims[claim] = Standing(each._replace() for each in fold.claims[claim].by_speaker.values())
    for claim, speaker in may_lose:
        if (live := fold.live.get(claim, {}).get(speaker)) is not None:
            made.live.setdefault(claim, {})[speaker] = [each._replace() for each in live]
    return made


@given(_logs(), st.integers(1, 4))
def test_folding_in_two_goes_equals_folding_in_one_at_every_cut_and_batch_size(happened: Happened, size: int):
    entries = _entries(happened)
    whole = Fold(POLICIES)
    changes = [whole.apply(event, position) for event, position in entries]
    for cut in range(len(entries) + 1):
        first = Fold(POLICIES)
        for event, position in entries[:cut]:
            first.apply(event, position)
        coming = entries[cut : cut + size]
        second = _partial(first, coming)
        assert [second.apply(event, position) for event, position in coming] == changes[cut : cut + size]
        one = Fold(POLICIES)
        for event, position in entries[: cut + size]:
            one.apply(event, position)
        for claim, stands in second.claims.items():
            assert stands.by_speaker == one.claims[claim].by_speaker
            assert stands.tally() == one.claims[claim].tally()
            assert stands.last_effective_at() == one.claims[claim].last_effective_at()
        for address, life in second.articles.items():
            assert life == one.articles[address]


@given(_logs(), st.integers(0, 9))
def test_a_fold_goes_on_from_where_it_stopped(happened: Happened, cut: int):
    entries = _entries(happened)
    fold = Fold(POLICIES)
    for event, position in entries[:cut]:
        fold.apply(event, position)
    _beliefs(fold)  # looking changes nothing
    for event, position in entries[cut:]:
        fold.apply(event, position)
    assert _beliefs(fold) == _beliefs(_fold(happened))


# --- what does not matter -------------------------------------------------------------------------


@given(_logs(dates_order=True), st.randoms(use_true_random=False))
def test_the_order_in_which_articles_arrive_does_not_matter_where_their_dates_can_order_them(
    happened: Happened, random: Any
):
    """Each article's own revisions and retractions come in their order, whatever comes between them."""
    queues: dict[str, list[Article | Event]] = {}
    for each in happened:
        queues.setdefault(_name(each), []).append(each)
    places = [_name(each) for each in happened]
    random.shuffle(places)
    otherwise = [queues[name].pop(0) for name in places]
    assert _placeless(_fold(otherwise), otherwise) == _placeless(_fold(happened), happened)
    assert _beliefs(_fold(otherwise)) == _beliefs(_fold(happened))


def _without_retracted(fold: Fold, named: set[str]) -> dict[tuple[str, str], tuple[str, str]]:
    """The beliefs in claims of `named`; every other one must be RETRACTED."""
    beliefs = _beliefs(fold)
    for (_, claim), belief_ in beliefs.items():
        assert claim in named or belief_ == ("unverified", "RETRACTED")
    return {key: belief_ for key, belief_ in beliefs.items() if key[1] in named}


@given(_logs(), _contents, st.data())
def test_what_is_recorded_and_retracted_leaves_no_trace_in_any_belief(
    happened: Happened, content: Any, data: st.DataObject
):
    recorded_at = data.draw(st.integers(0, len(happened)))
    retracted_at = data.draw(st.integers(recorded_at, len(happened)))
    with_it = [
        *happened[:recorded_at],
        _article("made-up", 1, content),
        *happened[recorded_at:retracted_at],
        retraction("made-up"),
        *happened[retracted_at:],
    ]
    named = set(_fold(happened).claims)
    fold = _fold(with_it)
    assert _without_retracted(fold, named) == _beliefs(_fold(happened))
    standing = _placeless(fold, with_it)
    assert {claim: standing[claim] for claim in named} == _placeless(_fold(happened), happened)


@given(_logs(), _contents)
def test_a_retracted_article_that_came_back_and_was_retracted_again_leaves_no_trace(happened: Happened, content: Any):
    happened = [*happened, _article("made-up", 1, content), retraction("made-up")]
    again = [*happened, _article("made-up", 2, content), retraction("made-up")]
    assert _beliefs(_fold(again)) == _beliefs(_fold(happened))
    assert _placeless(_fold(again), again) == _placeless(_fold(happened), happened)


@given(_logs())
def test_a_revision_that_says_the_same_changes_no_belief(happened: Happened):
    """So a correction of a quote never moves a claim."""
    fold = _fold(happened)
    before = _beliefs(fold)
    standing = _placeless(fold, happened)
    position = len(happened)
    newest = {each.url: each for each in happened if isinstance(each, Article)}
    again: list[Article | Event] = [*happened]
    for address, article in newest.items():
        if fold.articles[address].position is None:
            continue
        position += 1
        same = article.model_copy(update={"revision": article.revision + 1})
        again.append(same)
        change = fold.apply(events.of_article(same), position)
        assert (change.transitions, change.tallies) == ([], {})
    assert _beliefs(fold) == before
    assert _placeless(fold, again) == standing


_TURNED = {Stance.ASSERTS: Stance.DENIES, Stance.DENIES: Stance.ASSERTS, Stance.WITHHOLDS: Stance.WITHHOLDS}
_TURNED_STATE = {
    str(State.ASSERTED): str(State.DENIED),
    str(State.DENIED): str(State.ASSERTED),
    str(State.UNVERIFIED): str(State.UNVERIFIED),
}


def _turned(each: Article | Event) -> Article | Event:
    if not isinstance(each, Article):
        return each
    claims = tuple(
        claim.model_copy(
            update={
                "statements": tuple(
                    statement.model_copy(update={"stance": _TURNED[statement.stance]}) for statement in claim.statements
                )
            }
        )
        for claim in each.claims
    )
    return each.model_copy(update={"claims": claims})


@given(_logs())
def test_turning_every_word_round_turns_every_belief_round_but_those_of_any_denial(happened: Happened):
    turned = _beliefs(_fold([_turned(each) for each in happened]))
    for (id, claim), (state, reason) in _beliefs(_fold(happened)).items():
        if policy(id).name != "any_denial":
            assert turned[id, claim] == (_TURNED_STATE[state], reason)


@given(_logs())
def test_only_what_lost_every_statement_is_retracted(happened: Happened):
    plain = _Plain.after(happened)
    for (_, claim), (_, reason) in _beliefs(_fold(happened)).items():
        assert (reason == Reason.RETRACTED) == (not plain.of(claim))


# --- repeating changes nothing --------------------------------------------------------------------


@given(_logs())
def test_what_is_sent_again_is_the_same_and_what_is_not_is_not(happened: Happened):
    """`append` answers a repeat with the first position; here is how it knows."""
    articles = [each for each in happened if isinstance(each, Article)]
    for one in articles:
        again = documents.parse(one.model_dump(mode="json"))
        shorter = documents.parse(one.model_dump(mode="json", exclude_none=True))
        assert same_revision(one, again)
        assert same_revision(one, shorter)
        assert events.encode(events.of_article(one)) == events.encode(events.of_article(shorter))
        for other in articles:
            bytes_of = events.encode(events.of_article(one)), events.encode(events.of_article(other))
            assert same_revision(one, other) == (bytes_of[0] == bytes_of[1])
            assert same_content(one, other) >= same_revision(one, other)
            assert same_content(one, other) == same_content(other, one)


@given(st.lists(st.tuples(_statements, st.none() | st.sampled_from((0, 13))), min_size=1, max_size=3))
@example([(("a", None, Stance.ASSERTS, None, None), 0)])
def test_a_retry_without_the_text_is_the_same_as_the_first_with_it(statements: list[Any]):
    content = ("itv", "2022-02-15", None, [each for each, _ in statements])
    bare = _article("u", 1, content).model_dump(mode="json")
    starts = iter([start for _, start in statements])
    for claim in bare["claims"]:
        for statement in claim["statements"]:
            statement["start"] = next(starts) or 0
    text = f"{QUOTE}.{QUOTE}"
    assert text.index(QUOTE, 1) == len(QUOTE) + 1
    sent = [{**bare, "text": text}, bare, _article("u", 1, content).model_dump(mode="json")]
    for claim in sent[0]["claims"]:
        for statement in claim["statements"]:
            statement["start"] = 0 if not statement["start"] else len(QUOTE) + 1
    parsed = [documents.parse(each) for each in sent]
    assert parsed[0].text_sha256 is not None
    assert all(same_revision(one, other) for one in parsed for other in parsed)
