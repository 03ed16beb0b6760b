"""The queries."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field as own
from functools import partial
from typing import Annotated, Any, cast

import strawberry

from service.api.fields import Connection, arg, fresh, related
from service.api.loaders import many, one
from service.api.loading import Arguments, Loaded, Loader, Reader
from service.api.scalars import Instant, Position
from service.api.types import (
    Article,
    Claim,
    ClaimConnection,
    Event,
    Log,
    Node,
    Outlet,
    Policy,
    Speaker,
    Statement,
    Topic,
    policy_of,
)
from service.domain import policies
from service.domain.errors import BadArgument
from service.domain.events import EventType
from service.domain.policies import State
from service.queries import articles as stored_articles
from service.queries import claims as stored_claims
from service.queries import log_entries
from service.queries import statements as stored_statements
from service.queries.claims import ClaimOrder
from service.queries.paging import Order, Page, Slice


@strawberry.input(description="Which claims are wanted. What is left out does not matter.")
class ClaimFilter:
    state: State | None = strawberry.field(default=strawberry.UNSET, description="with this state")
    policy: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="under this policy, which must be projected; the one in force by default"
    )
    topic: str | None = strawberry.field(default=strawberry.UNSET, description="of the topic with this slug")
    speaker: str | None = strawberry.field(
        default=strawberry.UNSET, description="on which the speaker with this slug stands, whatever the stance"
    )
    outlet: str | None = strawberry.field(
        default=strawberry.UNSET, description="on which a live article of the outlet with this slug reports"
    )
    contested: bool | None = strawberry.field(
        default=strawberry.UNSET, description="that some assert and some deny, or not so"
    )
    single_speaker: bool | None = strawberry.field(
        default=strawberry.UNSET, description="on which exactly one speaker takes a side, or not so"
    )
    changed_after: Position | None = strawberry.field(
        default=strawberry.UNSET, description="whose state or reason changed after this position"
    )
    text: str | None = strawberry.field(
        default=strawberry.UNSET,
        description='with these words in a proposition or a live quote; "quoted phrases", or, and -not are understood',
    )


def _where(arguments: Arguments) -> tuple[stored_claims.ClaimFilter, policies.Policy]:
    sent: dict[str, Any] = arguments.get("where") or {}
    given = {_snake(name): value for name, value in sent.items()}
    policy = policy_of(given)
    given.pop("policy", None)
    return stored_claims.ClaimFilter(**given), policy


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def _order(arguments: Arguments) -> stored_claims.ClaimOrder:
    given = arguments.get("orderBy", arguments.get("order_by"))
    return stored_claims.ClaimOrder.NEWEST if given is None else given


def _claims(reader: Reader, parents: Sequence[Any], arguments: Arguments) -> Sequence[Any]:
    wanted, policy = _where(arguments)
    order = _order(arguments)
    load = many(
        "claims",
        stored_claims.LISTINGS[order].order,
        _root,
        lambda reader, _, __, page: [stored_claims.claims(reader.conn, reader.view, wanted, policy, order, page)],
        Claim.from_domain,
        connection=partial(_claim_connection, wanted, policy),
    )
    return load(reader, parents, arguments)


def _claim_connection(
    wanted: stored_claims.ClaimFilter, policy: policies.Policy, _: Any, **page: Any
) -> ClaimConnection:
    return ClaimConnection(where=(wanted, policy), **page)


def _root(_: Any) -> str:
    return ""


def _log(reader: Reader, parents: Sequence[Any], _: Arguments) -> list[Log]:
    view = reader.view
    recorded = view.head_recorded_at
    log = Log(
        head=Position(view.head),
        head_recorded_at=None if recorded is None else Instant(recorded),
        projected=Position(view.position),
        stopped_at=None if view.stopped_at is None else Position(view.stopped_at),
        because=view.because,
    )
    return [log for _ in parents]


def _policies(reader: Reader, parents: Sequence[Any], _: Arguments) -> list[list[Policy]]:
    known = dict.fromkeys([policies.policy(name).id for name in policies.NAMES] + list(reader.view.policies))
    listed = [Policy.from_domain(policies.policy(each), projected=each in reader.view.policies) for each in known]
    return [listed for _ in parents]


def _nodes(reader: Reader, ids: Sequence[str]) -> list[Any]:
    """What each id names, or None. Raises BadArgument for an id that no answer ever gave."""
    wanted: dict[str, list[str]] = {}
    for id in ids:
        kind, _, name = id.partition(":")
        if kind not in _FETCH_NODES or not name:
            raise BadArgument(f"{id!r} is no id of this service; take ids from its answers")
        wanted.setdefault(kind, []).append(name)
    found = {
        f"{kind}:{name}": node
        for kind, names in wanted.items()
        for name, node in _FETCH_NODES[kind](reader, names).items()
    }
    return [found.get(id) for id in ids]


def _numbers(names: Sequence[str]) -> dict[int, str]:
    """Positions by number; a name that is none, or not as answers write it, names nothing."""
    digits = (name for name in names if name.isascii() and name.isdigit() and len(name) < 19)
    return {int(name): name for name in digits if str(int(name)) == name}


def _articles_by_name(reader: Reader, names: Sequence[str]) -> dict[str, Any]:
    at = _numbers(names)
    found = stored_articles.articles_by_position(reader.conn, reader.position, at)
    return {at[position]: Article.from_domain(each) for position, each in found.items()}


def _events_by_name(reader: Reader, names: Sequence[str]) -> dict[str, Any]:
    at = _numbers(names)
    found = log_entries.events_by_position(reader.conn, reader.position, at)
    return {at[position]: Event.from_domain(each) for position, each in found.items()}


def _statements_by_name(reader: Reader, names: Sequence[str]) -> dict[str, Any]:
    at: dict[tuple[int, int], str] = {}
    for name in names:
        parts = name.split(".")
        if len(parts) == 2 and len(_numbers(parts)) == len(set(parts)) and int(parts[1]) < 1000:
            at[int(parts[0]), int(parts[1])] = name
    found = stored_statements.by_ordinal(reader.conn, reader.position, list(at))
    return {at[place]: Statement.from_domain(each) for place, each in found.items()}


_FETCH_NODES: dict[str, Callable[[Reader, Sequence[str]], Mapping[str, Any]]] = {
    "Claim": lambda reader, names: {
        slug: Claim.from_domain(each)
        for slug, each in stored_claims.claims_by_slug(reader.conn, reader.position, names).items()
    },
    "Speaker": lambda reader, names: {
        slug: Speaker.from_domain(each)
        for slug, each in stored_articles.speakers_by_slug(reader.conn, reader.position, names).items()
    },
    "Outlet": lambda reader, names: {
        slug: Outlet.from_domain(each)
        for slug, each in stored_articles.outlets_by_slug(reader.conn, reader.position, names).items()
    },
    "Article": _articles_by_name,
    "Event": _events_by_name,
    "Statement": _statements_by_name,
}


def _node(reader: Reader, parents: Sequence[Any], arguments: Arguments) -> list[Any]:
    (node,) = _nodes(reader, [arguments["id"]])
    return [node for _ in parents]


def _node_list(reader: Reader, parents: Sequence[Any], arguments: Arguments) -> list[Any]:
    ids = cast("list[str]", arguments["ids"])
    if len(ids) > 100:
        raise BadArgument(f"{len(ids)} ids are asked for; ask for at most 100 at once")
    nodes = _nodes(reader, ids)
    return [nodes for _ in parents]


def _by_argument(
    name: str, fetch: Callable[[Reader, list[Any]], Mapping[Any, Any]], make: Callable[[Any], Any]
) -> Loader:
    """A single thing, looked up by an argument of its field."""

    def load(reader: Reader, parents: Sequence[Any], arguments: Arguments) -> Sequence[Any]:
        key = arguments[name]
        return one(lambda _: key, lambda reader, keys, _: fetch(reader, list(keys)), make)(reader, parents, arguments)

    return load


def _listed(
    name: str, order: Order, fetch: Callable[[Reader, Arguments, Page], Slice[Any]], make: Callable[[Any], Any]
) -> Loader:
    """A list below the root."""
    return many(name, order, _root, lambda reader, _, arguments, page: [fetch(reader, arguments, page)], make)


def _events(reader: Reader, arguments: Arguments, page: Page) -> Any:
    types = arguments.get("types")
    return log_entries.events(
        reader.conn,
        reader.position,
        page,
        from_position=arguments.get("fromPosition", arguments.get("from_position")) or 1,
        types=None if types is None else [each.value for each in types],
    )


Slug = Annotated[str, arg("the slug that names it")]


@strawberry.type(description="What is on record, and what is believed because of it.")
class Query:
    loaded: strawberry.Private[Loaded] = own(default_factory=fresh)

    @related(_log, description="the log, and how far it is projected")
    def log(self) -> Log: ...

    @related(
        _by_argument(
            "slug",
            lambda reader, slugs: stored_claims.claims_by_slug(reader.conn, reader.position, slugs),
            Claim.from_domain,
        ),
        description="the claim with this slug; null where no statement on it is recorded",
    )
    def claim(self, slug: Slug) -> Claim | None: ...

    @related(_claims, paged=True, description="claims, the last to change first")
    def claims(
        self,
        where: Annotated[ClaimFilter | None, arg("which are wanted; all by default")] = None,
        order_by: Annotated[ClaimOrder | None, arg("in which order; NEWEST by default")] = None,
    ) -> ClaimConnection: ...

    @related(
        _listed(
            "topics",
            stored_articles.TOPICS.order,
            lambda reader, _, page: stored_articles.topics(reader.conn, reader.position, page),
            lambda topic: Topic(slug=topic.topic),
        ),
        paged=True,
        description="topics, the last to appear first",
    )
    def topics(self) -> Connection[Topic]: ...

    @related(
        _by_argument(
            "slug",
            lambda reader, slugs: stored_articles.outlets_by_slug(reader.conn, reader.position, slugs),
            Outlet.from_domain,
        ),
        description="the outlet with this slug; null where none is known",
    )
    def outlet(self, slug: Slug) -> Outlet | None: ...

    @related(
        _listed(
            "outlets",
            stored_articles.OUTLETS.order,
            lambda reader, _, page: stored_articles.outlets(reader.conn, reader.position, page),
            Outlet.from_domain,
        ),
        paged=True,
        description="outlets, the last to appear first",
    )
    def outlets(self) -> Connection[Outlet]: ...

    @related(
        _by_argument(
            "slug",
            lambda reader, slugs: stored_articles.speakers_by_slug(reader.conn, reader.position, slugs),
            Speaker.from_domain,
        ),
        description="the speaker with this slug; null where none is known",
    )
    def speaker(self, slug: Slug) -> Speaker | None: ...

    @related(
        _listed(
            "speakers",
            stored_articles.SPEAKERS.order,
            lambda reader, _, page: stored_articles.speakers(reader.conn, reader.position, page),
            Speaker.from_domain,
        ),
        paged=True,
        description="speakers, the last to appear first",
    )
    def speakers(self) -> Connection[Speaker]: ...

    @related(
        _by_argument(
            "url",
            lambda reader, urls: stored_articles.articles_by_url(reader.conn, reader.position, urls),
            Article.from_domain,
        ),
        description="the article with this URL, in its newest revision; null where it is not recorded",
    )
    def article(self, url: Annotated[str, arg("the URL that identifies it")]) -> Article | None: ...

    @related(
        _listed(
            "articles",
            stored_articles.ARTICLES.order,
            lambda reader, arguments, page: stored_articles.articles(
                reader.conn,
                reader.position,
                page,
                outlet=arguments.get("outlet"),
                live=arguments.get("live"),
            ),
            Article.from_domain,
        ),
        paged=True,
        description="articles, each in its newest revision, the last to be recorded first",
    )
    def articles(
        self,
        outlet: Annotated[str | None, arg("only of the outlet with this slug")] = None,
        live: Annotated[bool | None, arg("only those that are live, or that are retracted")] = None,
    ) -> Connection[Article]: ...

    @related(
        _by_argument(
            "position",
            lambda reader, at: log_entries.events_by_position(reader.conn, reader.position, at),
            Event.from_domain,
        ),
        description="the event at this position; null where the log has not come so far",
    )
    def event(self, position: Annotated[Position, arg("its place in the log")]) -> Event | None: ...

    @related(
        _listed("events", log_entries.EVENTS.order, _events, Event.from_domain),
        paged=True,
        description="the events of the log, oldest first",
    )
    def events(
        self,
        from_position: Annotated[Position | None, arg("the first position wanted; 1 by default")] = None,
        types: Annotated[list[EventType] | None, arg("only of these types")] = None,
    ) -> Connection[Event]: ...

    @related(_policies, description="the policies that there are, and those projected")
    def policies(self) -> list[Policy]: ...

    @related(_node, description="whatever this id names; null where nothing does")
    def node(self, id: Annotated[strawberry.ID, arg("an id from an answer")]) -> Node | None: ...

    @related(_node_list, description="whatever these ids name, in their order; null where nothing does")
    def nodes(self, ids: Annotated[list[strawberry.ID], arg("at most 100 ids from answers")]) -> list[Node | None]: ...
