"""Evidence: one belief with all that it rests on and the proofs, as files that need no service to be read.

What an editor hands to a lawyer: a page to print, the same as data, and the
proof that `python -m service.proof` verifies offline.
"""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from service import tree
from service.domain.article import Stance
from service.domain.errors import ClaimUnknown
from service.domain.events import Envelope, recorded_text
from service.domain.merges import Kind
from service.domain.moment import instant_text
from service.domain.policies import Policy
from service.queries import articles as stored_articles
from service.queries import beliefs as stored_beliefs
from service.queries import claims as stored_claims
from service.queries import log_entries
from service.queries import statements as stored_statements
from service.queries.articles import Article
from service.queries.beliefs import Belief, Transition
from service.queries.claims import Claim
from service.queries.paging import Page
from service.queries.snapshot import View
from service.queries.statements import Statement, StatementFilter

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is believed of a claim at one moment, and because of what."""

    claim: Claim
    belief: Belief
    position: int
    said_by: str | None
    head_recorded_at: str | None  #: when the last position that is known was recorded.
    statements: list[Statement]  #: all that is known on it, newest in the log first.
    standing: frozenset[stored_statements.Place]
    history: list[Transition]
    articles: dict[int, Article]  #: by position.
    entries: dict[int, Envelope]  #: the events that tell of it, by position.
    proof: dict[str, Any]

    def files(self) -> dict[str, bytes]:
        """The files of the bundle, by name."""
        return {
            "belief.json": orjson.dumps(_data(self), option=orjson.OPT_INDENT_2) + b"\n",
            "proof.json": orjson.dumps(self.proof, option=orjson.OPT_INDENT_2) + b"\n",
            "index.html": _page(self).encode(),
            "README.txt": _readme(self).encode(),
        }


def evidence(view: View, slug: str, policy: Policy) -> Evidence:
    """All that a belief rests on at the view's moment, with proofs of every event that tells of it.

    Raises ClaimUnknown, and NotInTree where an event is not signed for yet.
    """
    claim = stored_claims.claims_by_slug(view, [slug]).get(slug)
    if claim is None:
        raise ClaimUnknown(slug)
    belief = stored_beliefs.beliefs(view, [claim.claim], policy)[claim.claim]
    statements = _all_statements(view, claim.claim)
    read_history = stored_beliefs.histories if view.said_by is None else stored_beliefs.histories_said
    (history,) = read_history(view, [claim.claim], policy, Page(10_000))
    stand = stored_statements.which_stand(view, [(each.claim, each.place) for each in statements])
    articles = stored_articles.articles_by_position(view, {each.position for each in statements})
    positions = sorted(
        {each.position for each in statements}
        | {each.position for each in history.items}
        | _decisions(view, claim.claim)
        | _retractions(view, articles.values())
    )
    entries = log_entries.events_by_position(view, positions)
    head = log_entries.events_by_position(view, [view.position]).get(view.position)
    return Evidence(
        claim,
        belief,
        view.position,
        view.as_of.said_by,
        None if head is None else recorded_text(head.recorded_at),
        statements,
        frozenset(stand),
        history.items,
        articles,
        entries,
        tree.evidence(view.conn, sorted(entries)),
    )


def _all_statements(view: View, claim: str) -> list[Statement]:
    found: list[Statement] = []
    page = Page(_PAGE)
    while True:
        (part,) = stored_statements.of_claims(view, [claim], StatementFilter(), page)
        found += part.items
        if not part.has_next:
            return found
        page = Page(_PAGE, after=part.keys[-1])


def _retractions(view: View, articles: Iterable[Article]) -> set[int]:
    found = stored_articles.retractions(view, {article.url for article in articles})
    return {retraction.position for retraction in found.values()}


def _decisions(view: View, claim: str) -> set[int]:
    """Where people decided on the claim: its rulings, and the merges it has part in, with their undoing."""
    rows = view.conn.exec_driver_sql(
        """
        SELECT d.position FROM (
            SELECT unnest(ARRAY[r.position, r.until_position]) FROM ruling r WHERE r.claim = ANY(%(claims)s)
            UNION SELECT unnest(ARRAY[m.position, m.until_position]) FROM merge m
             WHERE m.kind = 'claim' AND (m.merged = ANY(%(claims)s) OR m.survivor = ANY(%(claims)s))
            UNION SELECT r.position FROM relation r WHERE r.claim = ANY(%(claims)s) OR r.to_claim = ANY(%(claims)s)
        ) d(position) WHERE d.position <= %(position)s
        """,
        {**view.parameters, "claims": view.merges.members(Kind.CLAIM, claim)},
    )
    return set(rows.scalars())


# --- as data ----------------------------------------------------------------------


def _data(made: Evidence) -> dict[str, Any]:
    belief = made.belief
    return {
        "claim": made.claim.claim,
        "proposition": made.claim.proposition,
        "as_of": {"position": made.position, "recorded_at": made.head_recorded_at, "said_by": made.said_by},
        "belief": {
            "policy": belief.policy,
            "state": belief.state,
            "reason": belief.reason,
            "asserting": belief.asserting,
            "denying": belief.denying,
            "withholding": belief.withholding,
        },
        "history": [
            {
                "position": each.position,
                "recorded_at": recorded_text(each.recorded_at),
                "effective_at": None if each.effective_at is None else instant_text(each.effective_at),
                "from": None if each.before is None else each.before.state,
                "to": None if each.after is None else each.after.state,
                "reason": None if each.after is None else each.after.reason,
            }
            for each in made.history
        ],
        "statements": [
            {
                "claim": each.claim,
                "position": each.position,
                "ordinal": each.ordinal,
                "speaker": each.speaker,
                "name": each.speaker_name,
                "stance": each.stance,
                "counts_as": each.counts_as,
                "stands": each.place in made.standing,
                "live": each.live,
                "quote": each.quote,
                "quote_verified": each.quote_verified,
                "said_at": each.said_at,
                "effective_at": instant_text(each.effective_at),
                "article": made.articles[each.position].url,
                "outlet": made.articles[each.position].outlet_name,
            }
            for each in made.statements
        ],
        "events": [
            {
                "position": each.position,
                "type": each.type,
                "recorded_at": recorded_text(each.recorded_at),
                "actor": each.actor,
            }
            for each in made.entries.values()
        ],
    }


# --- as a page ----------------------------------------------------------------------

_STYLE = """
body { font: 11pt/1.45 Georgia, serif; max-width: 46em; margin: 2em auto; padding: 0 1em; color: #111; }
h1 { font-size: 1.5em; } h2 { font-size: 1.1em; margin-top: 2em; } .state { font-weight: bold; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top;
padding: .3em .6em .3em 0; border-bottom: 1px solid #bbb; } td.n { white-space: nowrap; }
blockquote { margin: 0; } .faint { color: #555; } code { overflow-wrap: anywhere; font-size: .85em; }
@media print { body { margin: 0; } h2 { break-after: avoid; } tr { break-inside: avoid; } }
"""
_SAYS = {Stance.ASSERTS: "Asserts", Stance.DENIES: "Denies", Stance.WITHHOLDS: "Withholds"}


def _page(made: Evidence) -> str:
    belief = made.belief
    then = f"position {made.position} of the log" + (
        "" if made.head_recorded_at is None else f", recorded {made.head_recorded_at}"
    )
    said = "" if made.said_by is None else f", of what was said by {made.said_by}"
    standing = [each for each in made.statements if each.place in made.standing]
    others = [each for each in made.statements if each.place not in made.standing]
    counts = f"{belief.asserting} assert, {belief.denying} deny, {belief.withholding} withhold"
    parts = [
        f"<p>As of {_text(then)}{_text(said)}, under the policy <code>{_text(belief.policy)}</code>:</p>",
        f'<p class="state">{_text(belief.state.value.capitalize())} ({_text(belief.reason)}): {counts}.</p>',
        '<p class="faint">A state tells what is said and by whom, by a fixed rule. It does not tell what is true.</p>',
        "<h2>What counts</h2>",
        _statements(made, standing),
    ]
    if others:
        parts += ["<h2>What was said too, and counts no more</h2>", _statements(made, others)]
    parts += [
        "<h2>How it came about</h2>",
        _table(
            ("Position", "Recorded", "Told of", "State", "Reason"),
            [
                (
                    str(each.position),
                    recorded_text(each.recorded_at),
                    "" if each.effective_at is None else instant_text(each.effective_at),
                    "merged away" if each.after is None else each.after.state,
                    "" if each.after is None else each.after.reason,
                )
                for each in made.history
            ],
        ),
        "<h2>The events that tell of it</h2>",
        _table(
            ("Position", "Recorded", "Type", "Sent by"),
            [
                (str(each.position), recorded_text(each.recorded_at), each.type, each.actor)
                for each in made.entries.values()
            ],
        ),
        "<h2>Proof</h2>",
        "<p>Each of these events is in the log that signed this. README.txt says how to verify it without us.</p>",
        f"<pre><code>{_text(made.proof['checkpoint'])}</code></pre>",
    ]
    title = _text(made.claim.proposition)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _statements(made: Evidence, statements: Sequence[Statement]) -> str:
    rows: list[str] = []
    for each in statements:
        article = made.articles[each.position]
        part = ", ".join(part for part in (each.role, each.organisation) if part)
        said = each.said_at or "at an unknown time"
        notes = [_SAYS[Stance(each.counts_as)], "" if each.live else "no longer live"]
        rows.append(
            f'<tr><td class="n">{_text(", ".join(note for note in notes if note))}</td>'
            f'<td>{_text(each.speaker_name)}<br><span class="faint">{_text(part)}</span></td>'
            f"<td><blockquote>\N{LEFT DOUBLE QUOTATION MARK}{_text(each.quote)}\N{RIGHT DOUBLE QUOTATION MARK}"
            f'</blockquote><span class="faint">{_text(article.outlet_name)}, {_text(article.published_at)}: '
            f"{_text(article.headline or 'no headline')}<br>{_text(article.url)}<br>said {_text(said)}"
            f", event {each.position}</span></td></tr>"
        )
    titles = "".join(f'<th scope="col">{each}</th>' for each in ("Stance", "Speaker", "Words"))
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f'<th scope="col">{_text(each)}</th>' for each in head)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: str) -> str:
    return html.escape(value)


def _readme(made: Evidence) -> str:
    origin = made.proof["checkpoint"].splitlines()[0]
    return f"""What is believed of one claim, and the proof of what it rests on.

index.html    a page to read and to print
belief.json   the same as data
proof.json    the events that tell of it, with proofs that they are in the log

To verify without the service that made this, on a machine of your own with
onrecord installed (pip install onrecord), no database and no network:

    python -m service.proof verify --key KEY proof.json

KEY is the verifier key of the log {origin}.
Take it from where its newsroom publishes it, not from this folder: a key that
comes with a proof proves nothing. What is verified is that each event was in the
log when the checkpoint was signed, to the last byte. Whether the page tells what
the events say can be seen by comparing it with their payloads in proof.json.
"""
