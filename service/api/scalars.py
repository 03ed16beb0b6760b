"""Scalars, and what the domain's own enums mean to those who read the API."""

from datetime import datetime
from enum import Enum
from typing import Any, NewType

import strawberry
from graphql import GraphQLError

from service.domain import article, policies
from service.domain.events import EventType, Relation
from service.domain.moment import canonical, end
from service.queries.claims import ClaimOrder

Position = NewType("Position", int)
Moment = NewType("Moment", str)
Json = NewType("Json", object)
Instant = NewType("Instant", datetime)


def _position(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        # One of GraphQL's own, so that a literal, which validation parses, is the caller's mistake as well.
        raise GraphQLError("a position is a whole number from 0")
    return value


def instant_text(value: datetime) -> str:
    """An instant as answers write it: RFC 3339 in UTC.

    >>> from datetime import UTC
    >>> instant_text(datetime(2022, 2, 15, 18, 0, tzinfo=UTC))
    '2022-02-15T18:00:00Z'
    """
    return value.isoformat().replace("+00:00", "Z")


def _instant(value: Any) -> datetime:
    try:
        return end(canonical(value) if "T" in value else "")
    except (TypeError, ValueError):
        raise GraphQLError('an instant has date, time and offset, such as "2022-02-15T18:00:00Z"') from None


def _same(value: Any) -> Any:
    return value


class Axis(Enum):
    """Along which of its two times a history is told."""

    RECORDED = "recorded"
    SAID = "said"


SCALARS: dict[object, Any] = {
    Position: strawberry.scalar(
        name="Position",
        description="A place in the log: 1, 2, 3, ... without gaps; 0 is before the first event.",
        serialize=_same,
        parse_value=_position,
    ),
    Moment: strawberry.scalar(
        name="Moment",
        description='A bare date, "2022-02-15", or an instant in UTC, at the precision that was sent.',
        serialize=_same,
        parse_value=str,
    ),
    Json: strawberry.scalar(name="JSON", description="Any JSON value.", serialize=_same, parse_value=_same),
    Instant: strawberry.scalar(
        name="DateTime",
        description="An instant in UTC, RFC 3339.",
        serialize=instant_text,
        parse_value=_instant,
    ),
}


def _describe(cls: type[Enum], description: str, values: dict[str, str]) -> None:
    """Show the domain's own enum in the API, each value with its meaning."""
    made: Any = strawberry.enum(cls, description=description)
    for value in made.__strawberry_definition__.values:
        value.description = values[value.name]


_describe(
    article.Stance,
    "What a speaker does with a claim.",
    {
        "ASSERTS": "says that it is so",
        "DENIES": "says that it is not so",
        "WITHHOLDS": "takes no side: not verified, no sign seen, reportedly",
    },
)
_describe(
    article.Certainty,
    "How sure a speaker sounds.",
    {"CERTAIN": "without reserve", "PROBABLE": "likely, expected", "POSSIBLE": "may, could"},
)
_describe(
    article.Form,
    "How an article gives the words.",
    {"DIRECT": "quoted", "INDIRECT": "reported", "HEADLINE": "in the headline"},
)
_describe(
    article.Reader,
    "Who read the statements out of an article.",
    {"PERSON": "a person", "MODEL": "a model"},
)
_describe(
    article.ChangeOf,
    "What a later revision mends.",
    {"OUTLET": "the article itself changed", "READING": "we had read it wrong"},
)
_describe(
    policies.State,
    "What a policy makes of a claim. ASSERTED means asserted and uncontradicted, never true.",
    {
        "ASSERTED": "asserted, and by the policy not contradicted",
        "DENIED": "denied, and by the policy not contradicted",
        "UNVERIFIED": "neither",
    },
)
_describe(
    policies.Reason,
    "Why a policy gives a claim its state.",
    {
        "RETRACTED": "it had statements, none is live",
        "ONLY_WITHHELD": "nobody takes a side",
        "CONFLICT": "some assert and some deny",
        "TOO_FEW_SPEAKERS": "fewer take a side than the policy asks for",
        "OUTWEIGHED_BY_DOUBT": "too many withhold for those who take a side",
        "UNCORROBORATED": "those who take a side come from fewer than two blocs",
        "UNCONTRADICTED": "all who take a side take the same",
        "TIED": "as many assert as deny",
        "OUTVOTED": "the larger side decides",
        "LATEST_WORD": "what was said last decides",
        "DENIED_BY_ANY": "one denial is enough",
        "RULED": "an editor set it, whatever the policy says",
    },
)
_describe(
    Axis,
    "Along which of its two times a history is told.",
    {
        "RECORDED": "in order of the log: when each change became known",
        "SAID": "in order of when it was said, of all that is known",
    },
)
_describe(
    Relation,
    "How one claim bears on another.",
    {"REFINES": "says the same more exactly", "CONTRADICTS": "cannot be so where the other is"},
)
_describe(
    ClaimOrder,
    "How a list of claims is ordered.",
    {"NEWEST": "the last change of state or reason first, ties by slug", "SLUG": "by slug"},
)
_describe(
    EventType,
    "The type of an event, by its name in the log.",
    {
        "ArticleRecorded": "an article came on record",
        "ArticleRevised": "a later revision replaced an article's statements",
        "ArticleRetracted": "an article was withdrawn",
        "TextErased": "a text was erased for good",
        "ClaimsMerged": "a claim was merged into another, or into its opposite",
        "SpeakersMerged": "a speaker was merged into another",
        "MergeUndone": "a merge was undone",
        "ClaimsRelated": "a claim was said to bear on another",
        "ClaimRuled": "an editor set the state of a claim",
        "RulingLifted": "the policies decide on a claim again",
        "PolicyAdopted": "another policy is meant where none is named",
    },
)
