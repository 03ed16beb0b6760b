"""`onrecord claims` and `onrecord claim`: what is believed, and why, drawn for a terminal."""

import contextlib
from collections.abc import Generator, Sequence
from typing import Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection
from typer import TyperException

from service.cli import terminal
from service.cli.opening import open_database
from service.cli.terminal import clean
from service.config import Settings
from service.domain.article import Stance
from service.domain.policies import DEFAULT, Policy, State, policy
from service.queries import articles, statements
from service.queries import claims as queries
from service.queries.claims import Belief, Claim, ClaimFilter, ClaimOrder, Transition
from service.queries.paging import Page
from service.queries.snapshot import Snapshot, snapshot
from service.queries.statements import Statement, StatementFilter

#: More than anybody reads on a terminal.
_LISTED_MAX: Final = 500
_NOTHING: Final = "Nothing is on record here yet; record articles with `onrecord import`."
_UNKNOWN: Final = "No article on record names {}; `onrecord claims --search WORD` finds what there is."
_SAYS: Final = {Stance.ASSERTS: "assert", Stance.DENIES: "deny", Stance.WITHHOLDS: "withhold"}


def list_claims(
    settings: Settings,
    *,
    state: State | None,
    topic: str | None,
    under: str | None,
    search: str | None,
    limit: int,
) -> None:
    """Print the claims that are asked for, the last to change first."""
    chosen = policy(under or DEFAULT)
    wanted = ClaimFilter(state=state, topic=topic, text=search)
    with _reading(settings) as (conn, view):
        claims = queries.claims(conn, view, wanted, chosen, ClaimOrder.NEWEST, Page(limit)).items
        counts = queries.count_by_state(conn, view, wanted, chosen)
        beliefs = queries.beliefs(conn, view, [claim.claim for claim in claims], chosen)
    if claims:
        terminal.show(_table([(claim, beliefs[claim.claim]) for claim in claims]))
    told = ", ".join(f"{count:,} {each}" for each, count in counts.items() if count)
    total = sum(counts.values())
    shown = f"; {len(claims):,} shown, --limit shows more" if len(claims) < total else ""
    terminal.say(f"{total:,} {'claim' if total == 1 else 'claims'}{f': {told}' if told else ''}{shown}", style="faint")
    if claims and terminal.out().is_terminal:
        terminal.say("+ assert, \N{MINUS SIGN} deny, ? withhold", style="faint")
    _say_lag(view)


def show_claim(settings: Settings, slug: str, *, under: str | None) -> None:
    """Print what is believed of a claim, who stands where with which words, and how it came about."""
    chosen = policy(under or DEFAULT)
    with _reading(settings) as (conn, view):
        found = queries.claims_by_slug(conn, view.position, [slug])
        if slug not in found:
            raise TyperException(_UNKNOWN.format(slug))
        belief = queries.beliefs(conn, view, [slug], chosen)[slug]
        (standing,) = statements.of_claims(
            conn, view.position, [slug], StatementFilter(standing=True), Page(_LISTED_MAX)
        )
        (history,) = queries.histories(conn, view, [slug], chosen, Page(_LISTED_MAX, backward=True))
        positions = {each.position for each in standing.items} | {each.position for each in history.items}
        sources = articles.articles_by_event(conn, view.position, positions)
    _draw_belief(found[slug], belief, chosen)
    for stance in Stance:
        _draw_stance(stance, [each for each in standing.items if each.stance is stance], sources)
    _draw_history(history.items, sources)
    _say_lag(view)


@contextlib.contextmanager
def _reading(settings: Settings) -> Generator[tuple[Connection, Snapshot]]:
    """One moment of the record."""
    with open_database(settings) as engine:
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with engine.connect().execution_options(**options) as conn:
            view = snapshot(conn)
            if view is None:
                raise TyperException(_NOTHING)
            yield conn, view


def _table(rows: Sequence[tuple[Claim, Belief]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for claim, belief in rows:
        named = Text.assemble(
            (claim.claim, "key"),
            terminal.line_break(),
            (clean(claim.proposition), "faint"),
        )
        table.add_row(Text(belief.state, belief.state), _tally(belief), named)
    return table


def _tally(belief: Belief) -> Text:
    """Who stands where, as `4+ 1- 2?`: so many assert, deny, withhold."""
    parts = (
        (belief.asserting, "+", "asserts"),
        (belief.denying, "\N{MINUS SIGN}", "denies"),
        (belief.withholding, "?", "withholds"),
    )
    return Text(" ").join(Text(f"{count}{sign}".rjust(3), style if count else "faint") for count, sign, style in parts)


def _draw_belief(claim: Claim, belief: Belief, chosen: Policy) -> None:
    console = terminal.out()
    topic = f"  topic {claim.topic}" if claim.topic else ""
    console.print(Text.assemble((claim.claim, "key"), (topic, "faint")))
    console.print(Text(clean(claim.proposition)))
    console.print()
    counts = zip(_SAYS.items(), (belief.asserting, belief.denying, belief.withholding), strict=True)
    told = " \N{MIDDLE DOT} ".join(f"{count:,} {says}" for (_, says), count in counts)
    console.print(
        Text.assemble((belief.state.upper(), f"bold {_color(belief.state)}"), f"  {belief.reason}  ", (told, "faint"))
    )
    since = belief.since
    console.print(
        Text(
            f"under {chosen.id}, since position {since.position}, {since.recorded_at:%Y-%m-%d %H:%M} UTC",
            "faint",
        )
    )


def _color(name: str) -> str:
    return str(terminal.out().get_style(name))


def _draw_stance(stance: Stance, said: Sequence[Statement], sources: dict[int, articles.Article]) -> None:
    if not said:
        return
    console = terminal.out()
    console.print()
    console.print(Text.assemble((stance.capitalize(), f"bold {_color(stance)}"), (f"  {len(said):,}", "faint")))
    for each in sorted(said, key=lambda each: each.effective_at, reverse=True):
        source = sources[each.position]
        # A government speaks for itself: its name need not be said again.
        part = ", ".join(clean(word) for word in (each.role, each.organisation) if word and word != each.speaker_name)
        voice = "in its own voice" if each.own_voice else part
        name = Text.assemble((clean(each.speaker_name), "bold"), (f"  {voice}" if voice else "", "faint"))
        when = each.said_at or f"by {each.effective_at:%Y-%m-%d}"
        hedge = f", {each.certainty}" if each.certainty and each.certainty != "certain" else ""
        console.print(Padding.indent(name, 2))
        console.print(
            Padding.indent(Text(f"\N{LEFT DOUBLE QUOTATION MARK}{clean(each.quote)}\N{RIGHT DOUBLE QUOTATION MARK}"), 4)
        )
        console.print(Padding.indent(Text(f"{clean(source.outlet_name)}, {when}{hedge}", "faint"), 4))


def _draw_history(chain: Sequence[Transition], sources: dict[int, articles.Article]) -> None:
    console = terminal.out()
    console.print()
    console.print(Text("History", "bold"))
    width = max((len(str(each.position)) for each in chain), default=0)
    for each in chain:
        source = sources[each.position]
        what = f"{source.outlet_name}: {source.headline or source.url}"
        if source.position != each.position:
            what = f"retracted: {what}"
        late = " (tells of an earlier time)" if each.retroactive else ""
        changed = Text.assemble(
            (f"{each.position:>{width}}  {each.recorded_at:%Y-%m-%d %H:%M}  ", "faint"),
            (each.to_state.ljust(len("unverified")), each.to_state),
            f"  {each.reason}",
        )
        because = Text(f"{clean(what)}{late}", "faint")
        if console.is_terminal:
            console.print(Padding.indent(changed, 2))
            console.print(Padding.indent(because, width + 4))
        else:
            console.print(Text.assemble("  ", changed, "  ", because))


def _say_lag(view: Snapshot) -> None:
    if view.stopped_at is not None:
        terminal.warn(f"This is as of position {view.position} of {view.head}: {view.because}.")
    elif view.position < view.head:
        terminal.say(f"As of position {view.position} of {view.head}; a running service catches up by itself.")
