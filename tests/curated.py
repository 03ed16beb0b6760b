"""Logs in which people decide on what articles brought: builders of those events, and random logs of them.

    curated(article("1", nato=asserts("a")), article("2", uk=denies("b")), merged("a", "b"), undone(3))

Few of each id, so that they collide; what the log would refuse does not happen.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from service.domain import events
from service.domain.article import Article, Stance
from service.domain.events import (
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
from service.domain.policies import State
from service.domain.register import Register
from tests.builders import Said, article, retraction

#: Takes one of several, by dice or as Hypothesis wants it.
Choose = Callable[[Sequence[Any]], Any]

REASON = "The desk looked into it."


def merged(claim: str, into: str, *, opposite: bool = False) -> ClaimsMerged:
    """One claim counts for another from here on."""
    return ClaimsMerged(claim=claim, into=into, opposite=True if opposite else None, reason=REASON)


def same_speaker(speaker: str, into: str) -> SpeakersMerged:
    """One speaker counts for another from here on."""
    return SpeakersMerged(speaker=speaker, into=into, reason=REASON)


def undone(position: int) -> MergeUndone:
    """The merge of that position is taken apart."""
    return MergeUndone(position=position, reason=REASON)


def related(claim: str, to: str, relation: Relation = Relation.REFINES) -> ClaimsRelated:
    """One claim bears on another."""
    return ClaimsRelated(claim=claim, relation=relation, to=to, reason=REASON)


def ruled(claim: str, state: State) -> ClaimRuled:
    """An editor sets the state."""
    return ClaimRuled(claim=claim, state=state, reason=REASON)


def lifted(claim: str) -> RulingLifted:
    """The policies decide again."""
    return RulingLifted(claim=claim, reason=REASON)


def adopted(policy: str) -> PolicyAdopted:
    """Another policy is meant where none is named."""
    return PolicyAdopted(policy=policy, reason=REASON)


def erased(text_sha256: str) -> TextErased:
    """A text is gone for good."""
    return TextErased(text_sha256=text_sha256, reason=REASON)


def curated(*happened: Article | Event) -> list[tuple[int, Event]]:
    """What happened as events with their positions, from 1; refuses what no log would hold."""
    register = Register()
    placed: list[tuple[int, Event]] = []
    for position, each in enumerate(happened, 1):
        event = events.of_article(each) if isinstance(each, Article) else each
        against = register.check(event)
        if against is not None:
            raise ValueError(f"{position}: {against}")
        register.enter(event, position)
        placed.append((position, event))
    return placed


# --- random logs ----------------------------------------------------------------------------------

CLAIMS = ("a", "b", "c", "d")
SPEAKERS = ("itself", "nato", "russia", "uk")
OUTLETS = ("itv", "bbc")
MOMENTS = ("2022-02-14", "2022-02-15T09:00:00Z", "2022-02-15", "2022-02-15T23:59:59.999999Z", "2022-02-17")
_NAMES = ("u", "v", "w", "x")
#: What a step may be; what is here more often happens more often.
_KINDS = ("article",) * 8 + ("retraction", "claims", "claims", "claims", "speakers", "speakers")
_KINDS += ("undone",) * 4 + ("ruled", "ruled", "lifted", "related", "adopted", "erased")


def some_article(choose: Choose, name: str, revision: int, *, published: str | None = None) -> Article:
    """An article of up to four statements on few claims by few speakers."""
    speakers: dict[str, list[Said]] = {}
    for _ in range(choose((0, 1, 1, 2, 3, 4))):
        speaker = choose(SPEAKERS)
        said_at = choose((None, *MOMENTS))
        fields = {} if said_at is None else {"said_at": said_at}
        bloc = None if speaker == "itself" else choose((None, "west", "east"))
        speakers.setdefault(speaker, []).append(Said(str(choose(tuple(Stance))), choose(CLAIMS), bloc, fields))
    return article(
        name,
        by=choose(OUTLETS),
        published=published or choose(MOMENTS),
        revision=revision,
        revised=choose((None, *MOMENTS)) if revision > 1 else None,
        **speakers,
    )


def some_step(choose: Choose, register: Register) -> Event:
    """What could come next; the log may refuse it."""
    match choose(_KINDS):
        case "article":
            name = choose(_NAMES)
            known = register.newest.get(f"https://example.org/{name}", 0)
            return events.of_article(some_article(choose, name, known + 1))
        case "retraction":
            return retraction(choose(_NAMES))
        case "claims":
            return merged(choose(CLAIMS), choose(CLAIMS), opposite=choose((False, True)))
        case "speakers":
            ids = ("nato", "russia", "uk", "outlet:itv", "outlet:bbc")
            return same_speaker(choose(ids), choose(ids))
        case "undone":
            made = [merge.position for merge in register.merges]
            return undone(choose(made or [1]))
        case "ruled":
            return ruled(choose(CLAIMS), choose(tuple(State)))
        case "lifted":
            return lifted(choose(CLAIMS))
        case "related":
            return related(choose(CLAIMS), choose(CLAIMS), choose(tuple(Relation)))
        case "adopted":
            return adopted(choose(("majority", "latest", "unanimous:min_speakers=2")))
        case _:
            return erased(choose("0123") * 64)


def some_log(choose: Choose, steps: int, *, named: bool = False) -> list[Event]:
    """What happens in so many steps; what the log would refuse is left out.

    With `named`, an article before them names every claim, so that more of them is possible.
    """
    register = Register()
    happened: list[Event] = []
    if named:
        speakers = {
            speaker: [Said(str(choose(tuple(Stance))), claim) for claim in CLAIMS] for speaker in ("nato", "uk")
        }
        happened.append(events.of_article(article("first", published="2022-02-13", **speakers)))
        register.enter(happened[0], 1)
    for _ in range(steps):
        event = some_step(choose, register)
        if register.check(event) is None:
            happened.append(event)
            register.enter(event, len(happened))
    return happened


def of_kind(happened: Iterable[Event], *kinds: type[Event]) -> list[Event]:
    """Those of these types."""
    return [each for each in happened if isinstance(each, kinds)]
