"""What is counted once at the end is what the fold comes to event by event (design, section 5)."""

import random
import tracemalloc
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import brief, events
from service.domain.belief import Fold, RecordedStatement, statements_of, tally_of, told_by
from service.domain.errors import EventUndecodable
from service.domain.events import ArticleRecorded, ArticleRevised, Event
from service.domain.merges import Merges
from service.domain.recount import Outline, Recount, merged
from tests import curated as building
from tests.builders import article, asserts
from tests.curated import SPEAKERS


@st.composite
def _logs(draw: st.DrawFn) -> list[Event]:
    steps, named = draw(st.integers(0, 14)), draw(st.booleans())
    return building.some_log(lambda options: draw(st.sampled_from(options)), steps, named=named)


def _fold(happened: Sequence[Event]) -> Fold:
    fold = Fold(())
    for position, event in enumerate(happened, 1):
        fold.apply(event, position)
    return fold


def _outline(happened: Sequence[Event]) -> Outline:
    outline = Outline()
    for position, event in enumerate(happened, 1):
        if not isinstance(event, ArticleRecorded):
            outline.take(event, position)
    return outline


def _recount(
    happened: Sequence[Event], outline: Outline, *silent: str, parts: int = 1
) -> Mapping[str, dict[str, RecordedStatement]]:
    """By claim and speaker what stands, counted in so many parts."""
    recounts = [Recount(outline.merges, silent) for _ in range(parts)]
    for position, event in enumerate(happened, 1):
        if isinstance(event, ArticleRecorded | ArticleRevised):
            said = outline.place(event.article, position)
            recounts[position % parts].take(said.statements, live=said.live)
    counted = [[(claim, list(stands)) for claim, stands in recount.standing()] for recount in recounts]
    assert [recount.held for recount in recounts] == [sum(1 + len(stands) for _, stands in each) for each in counted]
    (found,) = counted if parts == 1 else [list(merged(map(iter, counted)))]
    assert [claim for claim, _ in found] == sorted({claim for claim, _ in found})
    standing = [(claim, [RecordedStatement(*told) for told in stands]) for claim, stands in found]
    return {claim: {each.speaker: each for each in stands} for claim, stands in standing}


@given(_logs(), st.integers(1, 3))
def test_a_recount_comes_to_what_the_fold_does(happened: Sequence[Event], parts: int):
    """In whatever parts it is counted."""
    for end in range(len(happened) + 1):
        known = happened[:end]
        fold, outline = _fold(known), _outline(known)
        assert _recount(known, outline, parts=parts) == {
            claim: stands.by_speaker for claim, stands in fold.claims.items()
        }
        assert outline.rulings == fold.rulings
        assert set(outline.merges) == set(fold.merges)


@given(_logs(), st.sampled_from(SPEAKERS), st.integers(1, 3))
def test_who_is_silent_in_a_recount_was_never_heard(happened: Sequence[Event], named: str, parts: int):
    outline = _outline(happened)
    silent = outline.merges.speaker(named)
    fold = _fold(happened)
    found = _recount(happened, outline, silent, parts=parts)
    for claim, stands in fold.claims.items():
        left = {speaker: each for speaker, each in stands.by_speaker.items() if speaker != silent}
        assert found.get(claim, {}) == left
    assert found.keys() <= fold.claims.keys()


def test_a_recount_that_forgets_begins_again():
    recount, outline = Recount(Merges()), Outline()
    first, second = (outline.place(article(str(i), nato=asserts(claim)), i) for i, claim in enumerate("ab", 1))
    recount.take(first.statements, live=True)
    recount.forget()
    assert (recount.held, list(recount.standing())) == (0, [])
    recount.take(second.statements, live=True)
    assert (recount.held, [claim for claim, _ in recount.standing()]) == (2, ["b"])


def test_an_outline_keeps_nothing_of_articles_that_stay_as_they_are():
    """Or it would grow with the log, and not with the few in a hundred that are revised or withdrawn."""
    outline = _outline([ArticleRevised(article=article("1", revision=2))])
    outline.place(article("1"), 1)
    tracemalloc.start()
    try:
        for position in range(2, 1000):
            outline.place(
                brief.Article(f"https://example.org/{position}", brief.Outlet("a"), "2022-02-15", []), position
            )
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()


@given(_logs())
def test_what_is_counted_at_once_is_what_is_counted_one_by_one(happened: Sequence[Event]):
    for stands in _fold(happened).claims.values():
        assert tally_of(list(stands.by_speaker.values())) == stands.tally()


# --- in brief -------------------------------------------------------------------------------------


@given(_logs())
def test_an_article_in_brief_says_what_the_article_does(happened: Sequence[Event]):
    for position, event in enumerate(happened, 1):
        if isinstance(event, ArticleRecorded | ArticleRevised):
            _same(event, position)


def _same(event: ArticleRecorded | ArticleRevised, position: int) -> None:
    read = brief.read(events.type_of(event), 1, events.encode(event))
    whole = event.article
    assert (read.url, read.revision, read.outlet.id) == (whole.url, whole.revision, whole.outlet.id)
    said = statements_of(whole, position=position, first_position=7)
    assert told_by(read, position=position, first_position=7) == said
    assert [each.effective_at for each in said] == [whole.effective_at(each) for _, _, each in whole.statements()]
    assert [each.speaker for each in said] == [whole.speaker_of(each) for _, _, each in whole.statements()]


@given(st.randoms(use_true_random=False))
def test_an_article_in_brief_heeds_every_date(random: random.Random):
    dates = ("2022-02-14", "2022-02-15T09:00:00Z", "2022-02-15", "2022-02-15T23:59:59.999999Z", "2022-02-17")
    said = [asserts(claim, said=random.choice((None, *dates)), bloc=random.choice((None, "west"))) for claim in "abc"]
    revised = random.choice((None, *dates))
    _same(
        ArticleRevised(article=article("1", revision=2, published=random.choice(dates), revised=revised, nato=said)),
        position=9,
    )


def test_an_article_of_an_older_version_is_lifted_before_it_is_read(monkeypatch: pytest.MonkeyPatch):
    event = ArticleRecorded(article=article("1", nato=asserts("a")))
    older = orjson.loads(events.encode(event))
    older["article"]["address"] = older["article"].pop("url")

    def lifted(payload: dict[str, Any]) -> dict[str, Any]:
        document = dict(payload["article"])
        return {**payload, "article": {**document, "url": document.pop("address")}}

    monkeypatch.setitem(events.TYPES, "ArticleRecorded", (ArticleRecorded, 2))  # type: ignore[arg-type]
    monkeypatch.setitem(events._STEPS, ("ArticleRecorded", 1), lifted)  # type: ignore[arg-type]
    assert brief.read("ArticleRecorded", 1, orjson.dumps(older)) == brief.read(
        "ArticleRecorded", 2, events.encode(event)
    )
    with pytest.raises(EventUndecodable, match="newer than this program"):
        brief.read("ArticleRecorded", 3, events.encode(event))
    with pytest.raises(EventUndecodable, match="damaged"):
        brief.read("ArticleRecorded", 1, b"{}" + orjson.dumps(older))
