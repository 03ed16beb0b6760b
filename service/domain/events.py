"""What the log stores: one class for each type of event, the envelope, and its bytes.

A type changes shape by a new schema version, one more step in `upcast` and one
more golden file; what was stored stays readable for ever.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from service.domain.article import Article, Sentence, Sha256, Slug, SpeakerId, Url
from service.domain.canonical import canonical_json
from service.domain.errors import EventUndecodable, PolicyInvalid
from service.domain.policies import State, policy


def _policy(value: str) -> str:
    try:
        return policy(value).id
    except PolicyInvalid as error:
        raise PydanticCustomError("text", "{why}", {"why": str(error)}) from None


#: A policy, in its canonical spelling whatever was sent.
PolicyId = Annotated[str, StringConstraints(max_length=200), AfterValidator(_policy)]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class _HoldsArticle(_Event):
    """An article as it was sent, but for its text, which lies elsewhere by its hash."""

    article: Article
    #: True where the text was sent along and every quote was found in it.
    quotes_verified: Literal[True] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.article.text is not None:
            raise ValueError("the text of an article does not belong into the log")
        return self


class ArticleRecorded(_HoldsArticle):
    """An article is on record, in its first revision."""

    @model_validator(mode="after")
    def _first(self) -> Self:
        if self.article.revision != 1:
            raise ValueError("a recorded article is revision 1")
        return self


class ArticleRevised(_HoldsArticle):
    """A later revision of an article replaces its statements from here on."""

    @model_validator(mode="after")
    def _later(self) -> Self:
        if self.article.revision == 1:
            raise ValueError("a revised article is revision 2 or later")
        return self


class ArticleRetracted(_Event):
    """The article is withdrawn: its statements no longer count from here on."""

    url: Url
    reason: Sentence


class TextErased(_Event):
    """The text with this hash is gone for good, whichever article or retry brings it again."""

    text_sha256: Sha256
    reason: Sentence


class ClaimsMerged(_Event):
    """One claim is the same as another, or its opposite, and counts for that one from here on."""

    claim: Slug  #: merged away.
    into: Slug  #: survives.
    #: True: the claim is what the survivor negates, so its asserts count as denies and the other way round.
    opposite: Literal[True] | None = None
    reason: Sentence


class SpeakersMerged(_Event):
    """Two speakers are one; what the first says counts as said by the second from here on."""

    speaker: SpeakerId  #: merged away.
    into: SpeakerId  #: survives.
    reason: Sentence


class MergeUndone(_Event):
    """A merge was wrong: from here on everything counts where its own id says."""

    position: int = Field(ge=1)  #: of the merge.
    reason: Sentence


class Relation(StrEnum):
    """How one claim bears on another."""

    REFINES = "refines"  #: says the same more exactly.
    CONTRADICTS = "contradicts"  #: cannot be so where the other is.


class ClaimsRelated(_Event):
    """One claim bears on another: shown to readers, never inferred from."""

    claim: Slug
    relation: Relation = Field(strict=False)
    to: Slug
    reason: Sentence


class ClaimRuled(_Event):
    """An editor sets the state of a claim under every policy, until it is lifted or ruled again."""

    claim: Slug
    state: State = Field(strict=False)
    reason: Sentence


class RulingLifted(_Event):
    """The policies decide on the claim again."""

    claim: Slug
    reason: Sentence


class PolicyAdopted(_Event):
    """Which policy is meant where none is named, from here on. It moves no belief."""

    policy: PolicyId
    reason: Sentence


Event = (
    ArticleRecorded
    | ArticleRevised
    | ArticleRetracted
    | TextErased
    | ClaimsMerged
    | SpeakersMerged
    | MergeUndone
    | ClaimsRelated
    | ClaimRuled
    | RulingLifted
    | PolicyAdopted
)


#: The events by which people decide on what articles brought.
CURATION: Final = (
    TextErased,
    ClaimsMerged,
    SpeakersMerged,
    MergeUndone,
    ClaimsRelated,
    ClaimRuled,
    RulingLifted,
    PolicyAdopted,
)


class EventType(StrEnum):
    """The types of events, by their names in the log."""

    ArticleRecorded = "ArticleRecorded"
    ArticleRevised = "ArticleRevised"
    ArticleRetracted = "ArticleRetracted"
    TextErased = "TextErased"
    ClaimsMerged = "ClaimsMerged"
    SpeakersMerged = "SpeakersMerged"
    MergeUndone = "MergeUndone"
    ClaimsRelated = "ClaimsRelated"
    ClaimRuled = "ClaimRuled"
    RulingLifted = "RulingLifted"
    PolicyAdopted = "PolicyAdopted"


#: Each type of event, by its name in the log, with the schema version written today.
TYPES: Final[Mapping[str, tuple[type[Event], int]]] = {
    "ArticleRecorded": (ArticleRecorded, 1),
    "ArticleRevised": (ArticleRevised, 1),
    "ArticleRetracted": (ArticleRetracted, 1),
    "TextErased": (TextErased, 1),
    "ClaimsMerged": (ClaimsMerged, 1),
    "SpeakersMerged": (SpeakersMerged, 1),
    "MergeUndone": (MergeUndone, 1),
    "ClaimsRelated": (ClaimsRelated, 1),
    "ClaimRuled": (ClaimRuled, 1),
    "RulingLifted": (RulingLifted, 1),
    "PolicyAdopted": (PolicyAdopted, 1),
}

#: (type, version) -> the payload of that version as the next one has it.
_STEPS: Final[Mapping[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]]] = {}


def type_of(event: Event) -> str:
    """The event's name in the log."""
    return type(event).__name__


def of_article(article: Article) -> ArticleRecorded | ArticleRevised:
    """The event that records `article`, as `article.parse` gave it."""
    kind = ArticleRecorded if article.revision == 1 else ArticleRevised
    return kind(article=article.without_text(), quotes_verified=None if article.text is None else True)


def encode(event: Event) -> bytes:
    """The event's payload: canonical JSON, null left out. The same event gives the same bytes."""
    return canonical_json(event.model_dump(exclude_none=True))


def decode(type: str, version: int, payload: bytes) -> Event:
    """The event that was stored, lifted to today's shape.

    Raises EventUndecodable where the type or version is not known or the bytes
    do not hold such an event: never a guess.
    """
    known = TYPES.get(type)
    if known is None:
        raise EventUndecodable(type, version, "its type is not known here; upgrade onrecord")
    model, current = known
    try:
        if version == current:
            return model.model_validate_json(payload)
        return model.model_validate(upcast(type, version, orjson.loads(payload)))
    except (ValidationError, orjson.JSONDecodeError) as error:
        raise EventUndecodable(type, version, f"its payload is damaged: {error}") from None


def upcast(type: str, version: int, payload: dict[str, Any]) -> dict[str, Any]:
    """A payload of an old schema version in today's, one step at a time."""
    _, current = TYPES[type]
    if not 1 <= version <= current:
        raise EventUndecodable(type, version, "its schema version is newer than this program; upgrade onrecord")
    for step in range(version, current):
        payload = _STEPS[type, step](payload)
    return payload


@dataclass(frozen=True, slots=True)
class Envelope:
    """An entry of the log: one event with its place, its time and who sent it."""

    position: int  #: 1, 2, 3, ... without gaps.
    event_id: UUID
    type: str
    schema_version: int
    recorded_at: datetime  #: strictly increasing with the position.
    actor: str  #: `cli:<user>`, `token:<name>` or `anonymous`: who really sent it.
    payload: bytes  #: the canonical JSON of the event.

    def event(self) -> Event:
        """What happened. Raises EventUndecodable."""
        return decode(self.type, self.schema_version, self.payload)


def leaf(
    *, event_id: UUID, type: str, schema_version: int, recorded_at: datetime, actor: str, payload_sha256: bytes
) -> bytes:
    """What the Merkle tree holds of an entry: its envelope without position and payload, in canonical JSON.

    The position is the leaf's index plus one; the payload is there by its hash.
    So a leaf stays under 1 KB, and proving one needs no payload.
    """
    return canonical_json(
        {
            "actor": actor,
            "event_id": str(event_id),
            "payload_sha256": payload_sha256.hex(),
            "recorded_at": recorded_text(recorded_at),
            "schema_version": schema_version,
            "type": type,
        }
    )


def recorded_text(recorded_at: datetime) -> str:
    """A recording time as leaves and exports write it: UTC with all six decimals.

    >>> recorded_text(datetime(2022, 2, 15, 18, 0, tzinfo=UTC))
    '2022-02-15T18:00:00.000000Z'
    """
    return f"{recorded_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def is_canonical(entry: Envelope, event: Event) -> bool:
    """Whether an entry's payload is the one canonical form of what it says, and no other bytes that mean the same."""
    if entry.schema_version == TYPES[entry.type][1]:
        return encode(event) == entry.payload
    # One of an older version: what it says today has other bytes.
    return canonical_json(orjson.loads(entry.payload)) == entry.payload


def leaf_of(entry: Envelope) -> bytes:
    """The leaf of an entry, from the bytes of its payload."""
    return leaf(
        event_id=entry.event_id,
        type=entry.type,
        schema_version=entry.schema_version,
        recorded_at=entry.recorded_at,
        actor=entry.actor,
        payload_sha256=sha256(entry.payload),
    )


def sha256(data: bytes) -> bytes:
    """SHA-256, as 32 bytes."""
    return hashlib.sha256(data).digest()
