"""The one place of builders: documents, articles and events that read like speech.

    article(nato=asserts("troops-withdrawing"), itself=withholds("troops-withdrawing"))
    states(article(nato=asserts("a")), article(nato=withholds("a")))

Write only what the test is about; the rest is filled with fixed values. An article that
is given no name gets a URL of its content, so two with different content are two articles,
in the order in which they are handed over.
"""

import copy
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings

from service.domain import article as documents
from service.domain import events
from service.domain.article import Article
from service.domain.belief import Change, Fold, RecordedStatement, Transition
from service.domain.events import ArticleRecorded, ArticleRetracted, ArticleRevised, Event
from service.domain.policies import NAMES, policy

# Every run of the check tries the same examples, so it cannot fail by chance. To search for more:
# ONRECORD_HYPOTHESIS=search pytest tests/test_laws.py --hypothesis-seed=...
settings.register_profile("onrecord", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("search", deadline=None, database=None, print_blob=True, max_examples=1_000)
# For `make fuzz`.
settings.register_profile("fuzz", deadline=None, database=None, print_blob=True, max_examples=20_000)
settings.load_profile(os.environ.get("ONRECORD_HYPOTHESIS", "onrecord"))

#: When everything is published unless a test says otherwise.
PUBLISHED = "2022-02-15"
QUOTE = "they said so"


@dataclass(frozen=True)
class Said:
    """A statement to come: it lacks only its speaker, whom the article names."""

    stance: str
    claim: str
    bloc: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def asserts(claim: str, *, said: str | None = None, bloc: str | None = None, **fields: Any) -> Said:
    """Says that it is so. `fields` are the document's own, such as `quote` or `form`."""
    return _said("asserts", claim, said, bloc, fields)


def denies(claim: str, *, said: str | None = None, bloc: str | None = None, **fields: Any) -> Said:
    """Says that it is not so."""
    return _said("denies", claim, said, bloc, fields)


def withholds(claim: str, *, said: str | None = None, bloc: str | None = None, **fields: Any) -> Said:
    """Takes no side."""
    return _said("withholds", claim, said, bloc, fields)


def _said(stance: str, claim: str, said: str | None, bloc: str | None, fields: dict[str, Any]) -> Said:
    return Said(stance, claim, bloc, fields if said is None else {"said_at": said, **fields})


def document(
    name: str | None = None,
    /,
    *,
    by: str = "daily-planet",
    published: str = PUBLISHED,
    revision: int = 1,
    revised: str | None = None,
    change: str | None = None,
    text: str | None = None,
    propositions: bool = True,
    **speakers: Said | Sequence[Said],
) -> dict[str, Any]:
    """An article document as a client may send it: a dict of JSON values, and valid.

    `name` is the end of its URL; `by` its outlet. Every other word is a speaker with
    what they say, in order; `jens_stoltenberg` is the speaker jens-stoltenberg, and
    `itself` the outlet in its own voice.
    """
    claims: dict[str, dict[str, Any]] = {}
    for speaker, said in speakers.items():
        for each in [said] if isinstance(said, Said) else said:
            claim = claims.setdefault(each.claim, {"claim": each.claim, "statements": []})
            if propositions:
                claim["proposition"] = f"{each.claim.replace('-', ' ').capitalize()}."
            claim["statements"].append(
                {"speaker": _speaker(speaker, each), "stance": each.stance, "quote": QUOTE, **each.fields}
            )
    optional = {"revised_at": revised, "change": change, "text": text}
    made: dict[str, Any] = {
        "outlet": {"id": by, "name": by.replace("-", " ").title()},
        "published_at": published,
        "revision": revision,
        **{name: value for name, value in optional.items() if value is not None},
        "claims": list(claims.values()),
    }
    if name is None:
        name = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:12]
    return {"url": url(name), **made}


def _speaker(name: str, said: Said) -> dict[str, Any] | None:
    if name == "itself":
        return None
    made = {"id": name.replace("_", "-"), "name": name.replace("_", " ").title()}
    return made if said.bloc is None else {**made, "bloc": said.bloc}


def url(name: str) -> str:
    """The URL of the article that a test calls `name`."""
    return f"https://example.org/{name}"


def article(name: str | None = None, /, **fields: Any) -> Article:
    """The article that `document` describes, parsed."""
    return documents.parse(document(name, **fields))


def retraction(name: str, /, reason: str = "It was made up.") -> ArticleRetracted:
    """The event that withdraws the article called `name`."""
    return ArticleRetracted(url=url(name), reason=reason)


# --- documents with a fault in them ------------------------------------------------------------------


def raw(document: object) -> bytes:
    """A document as it is sent. Lone surrogates are escaped, as a careless client's JSON has them."""
    return json.dumps(document).encode()


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `document` with `value` at `path`, written as problems name it: `claims[0].claim`."""
    made = copy.deepcopy(document)
    *steps, last = _steps(path)
    place: Any = made
    for step in steps:
        place = place[step]
    place[last] = value
    return made


def without(document: dict[str, Any], path: str) -> dict[str, Any]:
    """A copy of `document` that says nothing at `path`."""
    made = copy.deepcopy(document)
    *steps, last = _steps(path)
    place: Any = made
    for step in steps:
        place = place[step]
    del place[last]
    return made


def short(value: object) -> str | None:
    """The name of a case in pytest's list: a long value by its length, for `ids`."""
    return f"{len(value)}-long" if isinstance(value, str | bytes) and len(value) > 60 else None


def _steps(path: str) -> list[str | int]:
    return [int(step[1:-1]) if step[0] == "[" else step for step in re.findall(r"\[\d+\]|[^.\[\]]+", path)]


# --- what follows ------------------------------------------------------------------------------------


def log(*happened: Article | Event) -> Iterator[tuple[int, Event]]:
    """What happened as events with their positions, from 1; refuses what no log would hold."""
    revisions: dict[str, int] = {}
    retracted: set[str] = set()
    for position, each in enumerate(happened, 1):
        event = events.of_article(each) if isinstance(each, Article) else each
        if isinstance(event, ArticleRetracted):
            if event.url not in revisions or event.url in retracted:
                raise ValueError(f"no article is live at {event.url}")
            retracted.add(event.url)
        else:
            assert isinstance(event, ArticleRecorded | ArticleRevised)
            if event.article.revision != revisions.get(event.article.url, 0) + 1:
                raise ValueError(f"{event.article.url} comes twice; give the articles names, or revisions")
            revisions[event.article.url] = event.article.revision
            retracted.discard(event.article.url)
        yield position, event


def folded(*happened: Article | Event, policies: Sequence[str] = NAMES) -> tuple[Fold, list[Change]]:
    """The fold after what happened, and what each event changed."""
    fold = Fold([policy(id) for id in policies])
    return fold, [fold.apply(event, position) for position, event in log(*happened)]


def states(*happened: Article | Event, policy: str = "unanimous") -> dict[str, tuple[str, str]]:
    """The state and reason of every claim after what happened."""
    fold, _ = folded(*happened, policies=[policy])
    return {claim: (str(state), str(reason)) for claim, (state, reason) in fold.verdicts(fold.policies[0])}


def transitions(*happened: Article | Event, policy: str = "unanimous") -> list[Transition]:
    """Every change of belief, in order of the log."""
    _, changes = folded(*happened, policies=[policy])
    return [transition for change in changes for transition in change.transitions]


def live_in(fold: Fold) -> list[RecordedStatement]:
    """All statements that are live after a fold."""
    return [each for of_claim in fold.live.values() for said in of_claim.values() for each in said]
