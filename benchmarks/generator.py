"""News for the benchmark: an endless stream of article documents, the same one for the same seed.

Claims and speakers are drawn by Zipf's law (the k-th is named in proportion to 1/k), 8
statements an article. New claims keep coming, so that there are ten statements for each claim however
long the stream is; speakers grow with the square root of the claims, as names in a growing text
do (Heaps' law). A longer stream begins like a shorter one.
"""

import itertools
import math
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final

STATEMENTS: Final = 8  #: in an article.
STATEMENTS_A_CLAIM: Final = 10  #: on average.
LATE: Final = 0.05  #: of articles: they arrive up to a month after they were published.
REVISED: Final = 0.02  #: of articles: the outlet changes them later.
RETRACTED: Final = 0.005  #: of articles: the outlet withdraws them later.

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Retraction:
    """An article that its outlet withdraws."""

    url: str
    reason: str


def articles_for(claims: int) -> int:
    """How many articles it takes until so many claims are named."""
    return claims * STATEMENTS_A_CLAIM // STATEMENTS


def news(seed: int = 1, begin: int = 0) -> Iterator[Document | Retraction]:
    """Articles, their revisions and retractions, in the order in which they arrive, without end.

    Other seeds give other articles; `begin` is how many articles have gone before.
    """
    chance = random.Random(seed)
    recent: deque[Document] = deque(maxlen=100)
    for number in itertools.count(begin):
        named = range(_claims(number), _claims(number + 1))
        document = _article(chance, number, named)
        document["url"] += f"-{seed}"
        yield document
        recent.append(document)
        if chance.random() < REVISED:
            yield _revision(chance, _taken(chance, recent))
        if chance.random() < RETRACTED and recent:
            yield Retraction(_taken(chance, recent)["url"], "the outlet withdrew it")


def articles(seed: int = 1, begin: int = 0) -> Iterator[Document]:
    """The same without revisions and retractions: articles that may arrive in any order."""
    return (each for each in news(seed, begin) if not isinstance(each, Retraction) and "revision" not in each)


def _claims(articles: int) -> int:
    """How many claims have been named by so many articles."""
    return -(-articles * STATEMENTS // STATEMENTS_A_CLAIM)


# --- one article ------------------------------------------------------------------

_BEGUN: Final = datetime(2014, 1, 1, tzinfo=UTC)
_PACE: Final = timedelta(minutes=4)
_BLOCS: Final = ("nato", "russia", "ukraine", "eu", "un", None)
_STANCES: Final = ("asserts", "asserts", "asserts", "denies", "withholds")
_FORMS: Final = ("direct", "indirect", "headline")
_OUTLETS: Final = 60
_TOPICS: Final = 40
_SYLLABLES: Final = [
    "ka",
    "lo",
    "mer",
    "ti",
    "sun",
    "dra",
    "vel",
    "po",
    "ri",
    "nos",
    "ta",
    "be",
    "quil",
    "or",
    "an",
    "fe",
    "shi",
    "mu",
    "gra",
    "len",
]
#: Words that are drawn by Zipf's law too, so that a text search finds some everywhere and some hardly anywhere.
_WORDS: Final = [a + b + c for a in _SYLLABLES for b in _SYLLABLES for c in _SYLLABLES[:10]]
_WEIGHTS: Final = list(accumulate(1 / rank for rank in range(1, len(_WORDS) + 1)))


def _zipf(chance: random.Random, count: int) -> int:
    """One of 0 .. count - 1, the k-th in proportion to 1 / (k + 1)."""
    return min(int((count + 1) ** chance.random()), count) - 1


def _words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choices(_WORDS, cum_weights=_WEIGHTS, k=count))


def _article(chance: random.Random, number: int, begun: range) -> Document:
    """The article of this number, in which the claims `begun` are named for the first time."""
    arrived = _BEGUN + number * _PACE
    late = chance.random() < LATE
    published = arrived - timedelta(minutes=chance.randint(24 * 60, 30 * 24 * 60) if late else chance.randint(1, 60))
    claims, named = _claims(number + 1), list(begun)
    while len(named) < min(3, claims):
        drawn = _zipf(chance, claims)
        if drawn not in named:
            named.append(drawn)
    speakers = 20 + round(20 * math.sqrt(claims))
    shares = [STATEMENTS // len(named) + (i < STATEMENTS % len(named)) for i in range(len(named))]
    outlet = _zipf(chance, _OUTLETS)
    return {
        "url": f"https://outlet-{outlet}.example/{published:%Y/%m}/{number}",
        "outlet": {"id": f"outlet-{outlet}", "name": f"Outlet {outlet}"},
        "headline": _words(chance, 8).capitalize(),
        "published_at": f"{published:%Y-%m-%dT%H:%M:%SZ}",
        "language": "en",
        "claims": [
            {
                "claim": f"claim-{claim}",
                # Always the same words, so that they are its proposition and no further wording.
                "proposition": f"Claim {claim} is so, {_words(random.Random(claim), 9)}",
                "topic": f"topic-{claim % _TOPICS}",
                "statements": [_statement(chance, speakers, published) for _ in range(share)],
            }
            for claim, share in zip(named, shares, strict=True)
        ],
    }


def _statement(chance: random.Random, speakers: int, published: datetime) -> Document:
    speaker = _zipf(chance, speakers)
    statement: Document = {
        "speaker": {
            "id": f"speaker-{speaker}",
            "name": f"Speaker {speaker}",
            "role": f"Spokesperson of body {speaker % 97}",
            "organisation": f"Body {speaker % 97}",
        },
        "stance": chance.choice(_STANCES),
        "certainty": "certain",
        "form": chance.choice(_FORMS),
        "quote": _words(chance, 12),
    }
    bloc = _BLOCS[speaker % len(_BLOCS)]
    if bloc is not None:
        statement["speaker"]["bloc"] = bloc
    if chance.random() < 0.3:
        statement["said_at"] = f"{published - timedelta(days=chance.randint(0, 3)):%Y-%m-%d}"
    return statement


def _taken(chance: random.Random, recent: deque[Document]) -> Document:
    """One of the recent articles, which nothing happens to again."""
    taken = recent[chance.randrange(len(recent))]
    recent.remove(taken)
    return taken


def _revision(chance: random.Random, original: Document) -> Document:
    """What the outlet makes of an article: one of its statements says something else."""
    claims = [{**claim, "statements": list(claim["statements"])} for claim in original["claims"]]
    changed = chance.choice(claims)["statements"]
    changed[0] = {**changed[0], "stance": chance.choice(_STANCES), "quote": _words(chance, 12)}
    published = datetime.fromisoformat(original["published_at"])
    revised_at = f"{published + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}"
    return {**original, "claims": claims, "revision": 2, "revised_at": revised_at, "change": "outlet"}
