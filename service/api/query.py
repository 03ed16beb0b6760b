"""The queries."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, cast

import strawberry

from service.api import lookups
from service.api.fields import Arguments, Connection, Dated, Kept, Loader, arg, related
from service.api.loaders import many, one
from service.api.scalars import Instant, Position
from service.api.types import (
    Article,
    BeliefChange,
    Changed,
    Claim,
    ClaimConnection,
    Event,
    Log,
    Node,
    Outlet,
    Policy,
    PolicyArgument,
    Replay,
    Speaker,
    Topic,
)
from service.audit import LeftOut, replaying
from service.domain import policies
from service.domain.errors import BadArgument
from service.domain.events import EventType
from service.domain.policies import State
from service.queries import articles as stored_articles
from service.queries import beliefs as stored_beliefs
from service.queries import claims as stored_claims
from service.queries import log_entries
from service.queries import statements as stored_statements
from service.queries.claims import ClaimOrder
from service.queries.paging import Order, Page, Slice
from service.queries.snapshot import AsOf, View, as_of


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


def _where(arguments: Arguments) -> tuple[stored_claims.ClaimFilter, policies.Policy | None]:
    """The filter that is asked for, and its policy if it names one."""
    sent: dict[str, Any] = arguments.get("where") or {}
    given = {_snake(name): value for name, value in sent.items()}
    named = given.pop("policy", None)
    return stored_claims.ClaimFilter(**given), None if named is None else policies.policy(named)


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def _order(arguments: Arguments) -> stored_claims.ClaimOrder:
    given = arguments.get("orderBy", arguments.get("order_by"))
    return stored_claims.ClaimOrder.NEWEST if given is None else given


def _claims(view: View, parents: Sequence[Any], arguments: Arguments) -> Sequence[Any]:
    wanted, policy = _where(arguments)
    order = _order(arguments)
    load = many(
        "claims",
        stored_claims.LISTINGS[order].order,
        _root,
        # The policy in force is that of the moment of the page, which a cursor may have kept.
        lambda view, _, __, page: [stored_claims.claims(view, wanted, policy or view.policy, order, page)],
        where=lambda _: (wanted, policy),
    )
    return load(view, parents, arguments)


def _root(_: Any) -> str:
    return ""


def _log(view: View, parents: Sequence[Any], _: Arguments) -> list[Log]:
    begun = view.snapshot
    recorded = begun.head_recorded_at
    log = Log(
        head=Position(begun.head),
        head_recorded_at=None if recorded is None else Instant(recorded),
        projected=Position(begun.position),
        stopped_at=None if begun.stopped_at is None else Position(begun.stopped_at),
        because=begun.because,
    )
    return [log for _ in parents]


def _policies(view: View, parents: Sequence[Any], _: Arguments) -> list[list[Policy]]:
    known = dict.fromkeys([policies.policy(name).id for name in policies.NAMES] + list(view.snapshot.policies))
    listed = [
        Policy.from_domain(
            policies.policy(each), in_force=each == view.policy.id, projected=each in view.snapshot.policies
        )
        for each in known
    ]
    return [listed for _ in parents]


def _nodes(view: View, ids: Sequence[str]) -> list[Any]:
    """What each id names, as of the moment it carries, or None.

    Raises BadArgument for an id that no answer ever gave, and AsOfInvalid for one of a moment to come.
    """
    wanted: dict[tuple[AsOf | None, str], list[str]] = {}
    keys: list[tuple[AsOf | None, str, str]] = []
    for id in ids:
        kind, _, named = id.partition(":")
        name, at, moment = named.partition("@")
        if kind not in _FETCH_NODES or not name:
            raise BadArgument(f"{id!r} is no id of this service; take ids from its answers")
        then = _moment(view, id, moment) if at else None
        wanted.setdefault((then, kind), []).append(name)
        keys.append((then, kind, name))
    found: dict[tuple[AsOf | None, str, str], Any] = {}
    for (then, kind), names in wanted.items():
        at = view if then is None else view.at(then, named=True)
        for name, node in _FETCH_NODES[kind](at, names).items():
            found[then, kind, name] = node if then is None else Dated(then, True, node)
    return [found.get(key) for key in keys]


def _moment(view: View, id: str, text: str) -> AsOf:
    position, _, said_by = text.partition("~")
    if position not in _numbers([position]).values():
        raise BadArgument(f"{id!r} is no id of this service; take ids from its answers")
    found = as_of(view, position=int(position), recorded_at=None, said_by=said_by or None)
    if str(found) != text:
        raise BadArgument(f"{id!r} is no id of this service; take ids from its answers")
    return found


def _numbers(names: Sequence[str]) -> dict[int, str]:
    """Positions by number; a name that is none, or not as answers write it, names nothing."""
    digits = (name for name in names if name.isascii() and name.isdigit() and len(name) < 19)
    return {int(name): name for name in digits if str(int(name)) == name}


def _articles_by_name(view: View, names: Sequence[str]) -> dict[str, Any]:
    at = _numbers(names)
    found = stored_articles.articles_by_position(view, at)
    return {at[position]: each for position, each in found.items()}


def _events_by_name(view: View, names: Sequence[str]) -> dict[str, Any]:
    at = _numbers(names)
    found = log_entries.events_by_position(view, at)
    return {at[position]: each for position, each in found.items()}


def _statements_by_name(view: View, names: Sequence[str]) -> dict[str, Any]:
    at: dict[tuple[int, int], str] = {}
    for name in names:
        parts = name.split(".")
        if len(parts) == 2 and len(_numbers(parts)) == len(set(parts)) and int(parts[1]) < 1000:
            at[int(parts[0]), int(parts[1])] = name
    found = stored_statements.by_place(view, at)
    return {at[place]: each for place, each in found.items()}


_FETCH_NODES: dict[str, Callable[[View, Sequence[str]], Mapping[str, Any]]] = {
    "Claim": stored_claims.claims_by_slug,
    "Speaker": stored_articles.speakers_by_slug,
    "Outlet": stored_articles.outlets_by_slug,
    "Article": _articles_by_name,
    "Event": _events_by_name,
    "Statement": _statements_by_name,
}


def _node(view: View, parents: Sequence[Any], arguments: Arguments) -> list[Any]:
    (node,) = _nodes(view, [arguments["id"]])
    return [node for _ in parents]


def _node_list(view: View, parents: Sequence[Any], arguments: Arguments) -> list[Any]:
    ids = cast("list[str]", arguments["ids"])
    if len(ids) > 100:
        raise BadArgument(f"{len(ids)} ids are asked for; ask for at most 100 at once")
    nodes = _nodes(view, ids)
    return [nodes for _ in parents]


def _changes(view: View, parents: Sequence[Any], arguments: Arguments) -> Sequence[Any]:
    start, named = arguments.get("from", arguments.get("from_")), arguments.get("to")
    if view.said_by is not None:
        raise BadArgument("changes are of the log, so saidBy does not apply; leave it out")
    if named is not None:
        as_of(view, position=named, recorded_at=None, said_by=None)
        if named > view.position:
            raise BadArgument(f"to is {named}, which is after the asOf of {view.position}; name an earlier position")

    def fetch(view: View, _: Any, __: Arguments, page: Page) -> list[Slice[Any]]:
        # What is left out is of the moment of the page, which a cursor may have kept.
        policy, to = lookups.policy_of(view, arguments), view.position if named is None else named
        if start > to:
            raise BadArgument(f"from is {start} and to is {to}; name the earlier position first")
        found = stored_beliefs.changes(view, policy, start=start, to=to, page=page)
        return [
            found._replace(
                items=[Changed(each.claim, each.before, each.after, policy, start, to) for each in found.items]
            )
        ]

    load = many("changes", stored_beliefs.CHANGES, _root, fetch)
    return load(view, parents, arguments)


def _replay(view: View, parents: Sequence[Any], arguments: Arguments) -> Sequence[Any]:
    named: dict[str, Any] = {_snake(name): value for name, value in arguments.items() if value is not None}
    against = named.get("against")
    comparison = replaying.compare(
        view.conn,
        policy=policies.policy(named["policy"]) if "policy" in named else None,
        to=named.get("to"),
        leave_out=LeftOut(
            frozenset(named.get("without_speakers", ())),
            frozenset(named.get("without_outlets", ())),
            named.get("without_rulings", False),
        ),
        against=policies.policy(against) if against not in (None, replaying.STORED) else against,
        events_max=REPLAYED_MAX,
    )
    return [comparison for _ in parents]


def _by_argument(name: str, fetch: Callable[[View, list[Any]], Mapping[Any, Any]]) -> Loader:
    """A single thing, looked up by an argument of its field."""

    def load(view: View, parents: Sequence[Any], arguments: Arguments) -> Sequence[Any]:
        key = arguments[name]
        return one(lambda _: key, lambda view, keys: fetch(view, list(keys)))(view, parents, arguments)

    return load


def _listed(name: str, order: Order, fetch: Callable[[View, Arguments, Page], Slice[Any]]) -> Loader:
    """A list below the root."""
    return many(name, order, _root, lambda view, _, arguments, page: [fetch(view, arguments, page)])


def _topics(view: View, page: Page) -> Slice[str]:
    found = stored_articles.topics(view, page)
    return Slice([each.topic for each in found.items], found.keys, found.has_next, found.has_previous)


def _events(view: View, arguments: Arguments, page: Page) -> Any:
    types = arguments.get("types")
    return log_entries.events(
        view,
        page,
        from_position=arguments.get("fromPosition", arguments.get("from_position")) or 1,
        types=None if types is None else [each.value for each in types],
    )


#: How many events one request may fold; the command line knows no limit.
REPLAYED_MAX: Final = 10_000

Slug = Annotated[str, arg("the slug that names it")]


@strawberry.type(description="What is on record, and what is believed because of it.")
class Query:
    @related(_log, kept=Kept.NOT, description="the log, and how far it is projected")
    def log(self) -> Log: ...

    @related(
        _by_argument(
            "slug",
            lambda view, slugs: stored_claims.claims_by_slug(view, slugs),
        ),
        timed=True,
        description="the claim with this slug; null where no statement on it is recorded",
    )
    def claim(self, slug: Slug) -> Claim | None: ...

    @related(_claims, paged=True, timed=True, description="claims, the last to change first")
    def claims(
        self,
        where: Annotated[ClaimFilter | None, arg("which are wanted; all by default")] = None,
        order_by: Annotated[ClaimOrder | None, arg("in which order; NEWEST by default")] = None,
    ) -> ClaimConnection: ...

    @related(
        _listed(
            "topics",
            stored_articles.TOPICS.order,
            lambda view, _, page: _topics(view, page),
        ),
        paged=True,
        timed=True,
        description="topics, the last to appear first",
    )
    def topics(self) -> Connection[Topic]: ...

    @related(
        _by_argument(
            "slug",
            lambda view, slugs: stored_articles.outlets_by_slug(view, slugs),
        ),
        timed=True,
        description="the outlet with this slug; null where none is known",
    )
    def outlet(self, slug: Slug) -> Outlet | None: ...

    @related(
        _listed(
            "outlets",
            stored_articles.OUTLETS.order,
            lambda view, _, page: stored_articles.outlets(view, page),
        ),
        paged=True,
        timed=True,
        description="outlets, the last to appear first",
    )
    def outlets(self) -> Connection[Outlet]: ...

    @related(
        _by_argument(
            "slug",
            lambda view, slugs: stored_articles.speakers_by_slug(view, slugs),
        ),
        timed=True,
        description="the speaker with this slug; null where none is known",
    )
    def speaker(self, slug: Slug) -> Speaker | None: ...

    @related(
        _listed(
            "speakers",
            stored_articles.SPEAKERS.order,
            lambda view, _, page: stored_articles.speakers(view, page),
        ),
        paged=True,
        timed=True,
        description="speakers, the last to appear first",
    )
    def speakers(self) -> Connection[Speaker]: ...

    @related(
        _by_argument(
            "url",
            lambda view, urls: stored_articles.articles_by_url(view, urls),
        ),
        timed=True,
        description="the article with this URL, in its newest revision; null where it is not recorded",
    )
    def article(self, url: Annotated[str, arg("the URL that identifies it")]) -> Article | None: ...

    @related(
        _listed(
            "articles",
            stored_articles.ARTICLES.order,
            lambda view, arguments, page: stored_articles.articles(
                view,
                page,
                outlet=arguments.get("outlet"),
                live=arguments.get("live"),
            ),
        ),
        paged=True,
        timed=True,
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
            lambda view, at: log_entries.events_by_position(view, at),
        ),
        timed=True,
        description="the event at this position; null where the log has not come so far",
    )
    def event(self, position: Annotated[Position, arg("its place in the log")]) -> Event | None: ...

    @related(
        _listed("events", log_entries.EVENTS.order, _events),
        paged=True,
        timed=True,
        description="the events of the log, oldest first",
    )
    def events(
        self,
        from_position: Annotated[Position | None, arg("the first position wanted; 1 by default")] = None,
        types: Annotated[list[EventType] | None, arg("only of these types")] = None,
    ) -> Connection[Event]: ...

    @related(
        _changes,
        paged=True,
        timed=True,
        description="the claims whose state or reason differs between two positions, by slug",
    )
    def changes(
        self,
        from_: Annotated[Position, strawberry.argument(name="from", description="the earlier position")],
        to: Annotated[Position | None, arg("the later position; now by default")] = None,
        policy: PolicyArgument = None,
    ) -> Connection[BeliefChange]: ...

    @related(
        _replay,
        kept=Kept.NOT,
        description="the log folded anew, by another policy or with somebody left out, and what comes out differently",
    )
    def replay(
        self,
        policy: PolicyArgument = None,
        to: Annotated[Position | None, arg("the position up to which to replay; the last by default")] = None,
        without_speakers: Annotated[list[str] | None, arg("ids of speakers whose statements are not to count")] = None,
        without_outlets: Annotated[list[str] | None, arg("slugs of outlets whose articles are not to count")] = None,
        without_rulings: Annotated[bool | None, arg("whether rulings are not to count")] = None,
        against: Annotated[
            strawberry.ID | None,
            arg("what to compare with: a policy with nothing left out, or `stored`: what the read tables say"),
        ] = None,
    ) -> Replay: ...

    @related(
        _policies, timed=True, kept=Kept.WHILE_PROJECTED, description="the policies that there are, and those projected"
    )
    def policies(self) -> list[Policy]: ...

    @related(_node, description="whatever this id names; null where nothing does")
    def node(self, id: Annotated[strawberry.ID, arg("an id from an answer")]) -> Node | None: ...

    @related(_node_list, description="whatever these ids name, in their order; null where nothing does")
    def nodes(self, ids: Annotated[list[strawberry.ID], arg("at most 100 ids from answers")]) -> list[Node | None]: ...
