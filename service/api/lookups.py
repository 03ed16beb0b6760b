"""What fields of the types look up, for all parents of a level at once."""

from collections.abc import Sequence
from typing import Any, Final

from service import texts, tree
from service.api.fields import PAGING, Arguments, Paged
from service.api.loaders import many, one
from service.api.scalars import Axis
from service.audit import digests
from service.domain import policies
from service.domain.errors import TooBroad
from service.domain.merges import Kind
from service.queries import articles as stored_articles
from service.queries import beliefs as stored_beliefs
from service.queries import claims as stored_claims
from service.queries import log_entries
from service.queries import statements as stored_statements
from service.queries.claims import ClaimFilter
from service.queries.paging import Page, Slice, cut
from service.queries.snapshot import View

#: How many claims a digest may be asked of in one request; the command line knows no limit.
DIGESTED_MAX: Final = 50_000


def policy_of(view: View, arguments: Arguments) -> policies.Policy:
    """The policy that a field's arguments mean; the one in force where they name none. Raises PolicyInvalid."""
    named = arguments.get("policy")
    return view.policy if named is None else policies.policy(named)


def filters_of(arguments: Arguments) -> dict[str, Any]:
    """A field's arguments without those of a page, for a filter that has the same names."""
    return {name: value for name, value in arguments.items() if name not in PAGING}


def believed(view: View, parents: Sequence[Any], arguments: Arguments) -> list[Any]:
    found = stored_beliefs.beliefs(view, [claim.claim for claim in parents], policy_of(view, arguments))
    return [found[claim.claim] for claim in parents]


def total_count(view: View, parents: Sequence[Any], _: Arguments) -> list[Any]:
    return [sum(counts(view, page).values()) for page in parents]


def counts(view: View, page: Paged) -> dict[policies.State, int]:
    if page.counted is None:
        wanted, policy = page.where
        page.counted = stored_claims.count_by_state(view, wanted, policy or view.policy)
    return page.counted


def stands(view: View, parents: Sequence[Any], _: Arguments) -> list[Any]:
    places = [(said.claim, (said.position, said.ordinal)) for said in parents]
    stand = stored_statements.which_stand(view, places)
    return [place in stand for _, place in places]


def history(view: View, parents: Sequence[Any], arguments: Arguments) -> Sequence[Any]:
    # Where only a part of what is known counts, there is one time left to go along.
    said = arguments.get("axis") is Axis.SAID or view.said_by is not None
    load = many(
        "history",
        stored_beliefs.SAID if said else stored_beliefs.HISTORY.order,
        lambda claim: claim.claim,
        lambda view, slugs, _, page: (
            stored_beliefs.histories_said(view, slugs, policy_of(view, arguments), page)
            if said
            else stored_beliefs.histories(view, slugs, policy_of(view, arguments), page)
        ),
    )
    return load(view, parents, arguments)


def transitions(view: View, parents: Sequence[Any], arguments: Arguments) -> Sequence[Any]:
    policy, start, to = parents[0].policy, parents[0].start, parents[0].to
    load = many(
        "transitions",
        stored_beliefs.HISTORY.order,
        lambda change: change.claim,
        lambda view, slugs, _, page: stored_beliefs.transitions_between(
            view, policy, start=start, to=to, claims=slugs, page=page
        ),
    )
    return load(view, parents, arguments)


def _moved(view: View, made: Sequence[stored_beliefs.Transition], page: Page) -> list[Slice[stored_statements.Moved]]:
    at = [(each.claim, each.position) for each in made if not each.said]
    moments = [(each.claim, each.effective_at) for each in made if each.said and each.effective_at is not None]
    recorded = iter(stored_statements.moves_at(view, at))
    said = iter(stored_statements.moves_said(view, moments))
    moves = [next(said) if each.said else next(recorded) for each in made]
    return [cut((((each.speaker,), each) for each in of), stored_statements.MOVES, page) for of in moves]


def place_of(transition: stored_beliefs.Transition) -> str:
    return f"{transition.position}:{transition.claim}"


moves = many(
    "moves",
    stored_statements.MOVES,
    lambda transition: transition,
    lambda view, made, _, page: _moved(view, made, page),
    name_of=lambda transition: f"{place_of(transition)} {transition.policy}",
)


def also_known_as(view: View, parents: Sequence[Any], _: Arguments) -> list[Any]:
    return [view.merges.members(Kind.CLAIM, claim.claim)[1:] for claim in parents]


def speaker_also_known_as(view: View, parents: Sequence[Any], _: Arguments) -> list[Any]:
    return [view.merges.members(Kind.SPEAKER, speaker.speaker)[1:] for speaker in parents]


def relations(view: View, parents: Sequence[Any], _: Arguments) -> list[Any]:
    found = stored_claims.relations(view, [claim.claim for claim in parents])
    return [found[claim.claim] for claim in parents]


def origin(view: View, parents: Sequence[Any], _: Arguments) -> list[Any]:
    known = tree.identity(view.conn)
    return [known and known.origin for _ in parents]


def key(view: View, parents: Sequence[Any], _: Arguments) -> list[Any]:
    known = tree.identity(view.conn)
    return [known and str(known.key) for _ in parents]


def state_digest(view: View, parents: Sequence[Any], arguments: Arguments) -> Sequence[Any]:
    policy = policy_of(view, arguments)
    count = sum(stored_claims.count_by_state(view, ClaimFilter(), policies.policy(view.snapshot.policies[0])).values())
    if count > DIGESTED_MAX:
        raise TooBroad(found=count, limit=DIGESTED_MAX)
    digest = digests.digest_stored(view.conn, policy, position=view.position).root.hex()
    return [digest for _ in parents]


claim_of = one(
    lambda parent: parent.claim,
    stored_claims.claims_by_slug,
)
related_to = one(
    lambda related: related.to_claim,
    stored_claims.claims_by_slug,
)
speaker_of = one(
    lambda parent: parent.speaker,
    stored_articles.speakers_by_slug,
)
statement_at = one(
    lambda parent: parent.statement,
    stored_statements.by_place,
)
old = one(
    lambda move: move.old,
    stored_statements.by_place,
)
new = one(
    lambda move: move.new,
    stored_statements.by_place,
)
article_at = one(
    lambda parent: parent.position,
    stored_articles.articles_by_position,
)
event_at = one(
    lambda parent: parent.position,
    log_entries.events_by_position,
)
outlet_of = one(
    lambda article: article.outlet,
    stored_articles.outlets_by_slug,
)
retraction = one(
    lambda article: (article.url, article.revision),
    lambda view, keys: stored_articles.retractions(view, {url for url, _ in keys}),
)
text = one(
    lambda article: None if article.text_sha256 is None else bytes.fromhex(article.text_sha256),
    lambda view, hashes: texts.texts_by_hash(view.conn, hashes),
)
erasure = one(
    lambda article: None if article.text_sha256 is None else bytes.fromhex(article.text_sha256),
    log_entries.erasures,
)
topic_of = one(
    lambda claim: claim.topic,
    lambda _, slugs: {slug: slug for slug in slugs},
)
article_of_event = one(
    lambda event: event.position,
    stored_articles.articles_by_event,
)
