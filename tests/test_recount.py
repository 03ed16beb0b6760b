"""What is counted once at the end is what the fold comes to event by event (design, section 5)."""

import random
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
from service.domain.recount import Outline, Recount
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


def _recount(happened: Sequence[Event], outline: Outline, *silent: str) -> Mapping[str, dict[str, RecordedStatement]]:
    """By claim and speaker what stands."""
    recount = Recount(outline.merges, silent)
    for position, event in enumerate(happened, 1):
        if isinstance(event, ArticleRecorded | ArticleRevised):
            said = outline.place(event.article, position)
            recount.take(said.statements, live=said.live)
    standing = [(claim, [RecordedStatement(*told) for told in stands]) for claim, stands in recount.standing()]
    assert [claim for claim, _ in standing] == sorted(claim for claim, _ in standing)
    return {claim: {each.speaker: each for each in stands} for claim, stands in standing}


@given(_logs())
def test_a_recount_comes_to_what_the_fold_does(happened: Sequence[Event]):
    for end in range(len(happened) + 1):
        known = happened[:end]
        fold, outline = _fold(known), _outline(known)
        assert _recount(known, outline) == {claim: stands.by_speaker for claim, stands in fold.claims.items()}
        assert outline.rulings == fold.rulings
        assert set(outline.merges) == set(fold.merges)


@given(_logs(), st.sampled_from(SPEAKERS))
def test_who_is_silent_in_a_recount_was_never_heard(happened: Sequence[Event], named: str):
    outline = _outline(happened)
    silent = outline.merges.speaker(named)
    fold = _fold(happened)
    found = _recount(happened, outline, silent)
    for claim, stands in fold.claims.items():
        left = {speaker: each for speaker, each in stands.by_speaker.items() if speaker != silent}
        assert found.get(claim, {}) == left
    assert found.keys() <= fold.claims.keys()


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
