"""`onrecord claims` and `onrecord claim`: what is believed, and why, drawn for a terminal."""

import contextlib
from collections.abc import Generator, Sequence
from typing import Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer import TyperException

from service.cli import moments, terminal
from service.cli.opening import open_database
from service.cli.terminal import clean
from service.config import Settings
from service.domain.article import Stance
from service.domain.errors import EventUndecodable
from service.domain.events import (
    ClaimRuled,
    ClaimsMerged,
    Envelope,
    MergeUndone,
    RulingLifted,
    SpeakersMerged,
)
from service.domain.merges import Kind
from service.domain.policies import Policy, Reason, State, policy
from service.queries import articles, log_entries, statements
from service.queries import beliefs as stored_beliefs
from service.queries import claims as queries
from service.queries.beliefs import Belief, Transition
from service.queries.claims import Claim, ClaimFilter, ClaimOrder, Related, Ruled
from service.queries.paging import Page
from service.queries.snapshot import View, as_of, view
from service.queries.statements import Statement, StatementFilter

#: More than anybody reads on a terminal.
_LISTED_MAX: Final = 500
_NOTHING: Final = "Nothing is on record here yet; record articles with `onrecord import`."
_UNKNOWN: Final = "No article on record names {}; `onrecord claims --search WORD` finds what there is."
_UNKNOWN_THEN: Final = "Nothing that was known then names {}; without --as-of and --said-by it may."
_SAYS: Final = {Stance.ASSERTS: "assert", Stance.DENIES: "deny", Stance.WITHHOLDS: "withhold"}


def list_claims(
    settings: Settings,
    *,
    state: State | None,
    topic: str | None,
    under: str | None,
    search: str | None,
    limit: int,
    at: str | None,
    said_by: str | None,
) -> None:
    """Print the claims that are asked for, the last to change first."""
    wanted = ClaimFilter(state=state, topic=topic, text=search)
    with _reading(settings, at, said_by) as reading:
        chosen = policy(under) if under else reading.policy
        claims = queries.claims(reading, wanted, chosen, ClaimOrder.NEWEST, Page(limit)).items
        counts = queries.count_by_state(reading, wanted, chosen)
        beliefs = stored_beliefs.beliefs(reading, [claim.claim for claim in claims], chosen)
    if claims:
        terminal.show(_table([(claim, beliefs[claim.claim]) for claim in claims]))
    told = ", ".join(f"{count:,} {each}" for each, count in counts.items() if count)
    total = sum(counts.values())
    shown = f"; {len(claims):,} shown, --limit shows more" if len(claims) < total else ""
    terminal.say(f"{total:,} {'claim' if total == 1 else 'claims'}{f': {told}' if told else ''}{shown}", style="faint")
    if claims and terminal.out().is_terminal:
        terminal.say("+ assert, \N{MINUS SIGN} deny, ? withhold", style="faint")
    _say_lag(reading)


def show_claim(settings: Settings, slug: str, *, under: str | None, at: str | None, said_by: str | None) -> None:
    """Print what is believed of a claim, who stands where with which words, and how it came about."""
    with _reading(settings, at, said_by) as reading:
        chosen = policy(under) if under else reading.policy
        found = queries.claims_by_slug(reading, [slug])
        if slug not in found:
            raise TyperException((_UNKNOWN_THEN if reading.named else _UNKNOWN).format(slug))
        claim = found[slug]
        survivor = claim.claim
        belief = stored_beliefs.beliefs(reading, [survivor], chosen)[survivor]
        ruling = queries.rulings_in_force(reading, [survivor]).get(survivor) if _is_ruled(belief) else None
        related = queries.relations(reading, [survivor])[survivor]
        (standing,) = statements.of_claims(reading, [survivor], StatementFilter(standing=True), Page(_LISTED_MAX))
        histories = stored_beliefs.histories if reading.said_by is None else stored_beliefs.histories_said
        (history,) = histories(reading, [survivor], chosen, Page(_LISTED_MAX, backward=True))
        positions = {each.position for each in standing.items} | {each.position for each in history.items}
        sources = articles.articles_by_event(reading, positions)
        decisions = log_entries.events_by_position(
            reading, [*(positions - sources.keys()), *([ruling.position] if ruling else [])]
        )
    _draw_claim(claim, _other_names(reading, slug, survivor))
    _draw_belief(belief, chosen)
    if ruling is not None:
        _draw_ruling(belief, ruling, decisions[ruling.position].actor, chosen)
    _draw_relations(related)
    for stance in Stance:
        _draw_stance(stance, [each for each in standing.items if each.counts_as == stance], sources)
    _draw_history(history.items, sources, decisions)
    _say_lag(reading)


@contextlib.contextmanager
def _reading(settings: Settings, at: str | None, said_by: str | None) -> Generator[View]:
    """One moment of the record: now, or the one that is asked for."""
    with open_database(settings) as engine:
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with engine.connect().execution_options(**options) as conn:
            begun = view(conn)
            if begun is None:
                raise TyperException(_NOTHING)
            if at is None and said_by is None:
                yield begun
            else:
                position, recorded_at = moments.then(at)
                asked = as_of(begun, position=position, recorded_at=recorded_at, said_by=said_by)
                yield begun.at(asked, named=True)


def _is_ruled(belief: Belief) -> bool:
    return belief.reason is Reason.RULED


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


def _other_names(reading: View, asked: str, survivor: str) -> list[str]:
    """What is to be said of the slugs that are merged into the claim."""
    merges = reading.merges
    told: list[str] = []
    if (merge := merges.of(Kind.CLAIM, asked)) is not None:
        told.append(f"{asked} is merged into {merge.into} since position {merge.position}")
    members = merges.members(Kind.CLAIM, survivor)[1:]
    if members:
        names = (f"{slug} (its opposite)" if merges.claim(slug).opposite else slug for slug in members)
        told.append(f"also known as {', '.join(names)}")
    return told


def _draw_claim(claim: Claim, names: Sequence[str]) -> None:
    console = terminal.out()
    topic = f"  topic {claim.topic}" if claim.topic else ""
    console.print(Text.assemble((claim.claim, "key"), (topic, "faint")))
    console.print(Text(clean(claim.proposition)))
    for each in names:
        console.print(Text(each, "faint"))


def _draw_belief(belief: Belief, chosen: Policy) -> None:
    console = terminal.out()
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


def _draw_ruling(belief: Belief, ruling: Ruled, actor: str, chosen: Policy) -> None:
    alone = belief.unruled
    console = terminal.out()
    console.print(Text(f"ruled at position {ruling.position} by {clean(actor)}: {clean(ruling.reason)}"))
    console.print(Text.assemble(f"{chosen.id} alone says ", (alone.state, alone.state), f" {alone.reason}"))


def _draw_relations(related: Sequence[Related]) -> None:
    if not related:
        return
    console = terminal.out()
    console.print()
    console.print(Text("Relations", "bold"))
    for each in related:
        what = Text(f"{each.claim} {each.relation} {each.to_claim}  ")
        what.append(f"{clean(each.reason)} (position {each.position})", "faint")
        console.print(Padding.indent(what, 2))


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


def _draw_history(
    chain: Sequence[Transition], sources: dict[int, articles.Article], decisions: dict[int, Envelope]
) -> None:
    console = terminal.out()
    console.print()
    console.print(Text("History", "bold"))
    width = max((len(str(each.position)) for each in chain), default=0)
    for each in chain:
        source = sources.get(each.position)
        if source is None:
            what = _decision(decisions[each.position])
        else:
            retracted = "" if source.position == each.position else "retracted: "
            what = f"{retracted}{source.outlet_name}: {source.headline or source.url}"
        state = "merged" if each.after is None else each.after.state
        late = " (tells of an earlier time)" if each.retroactive else ""
        when = each.effective_at if each.said and each.effective_at else each.recorded_at
        changed = Text.assemble(
            (f"{each.position:>{width}}  {when:%Y-%m-%d %H:%M}  ", "faint"),
            (state.ljust(len("unverified")), state),
            f"  {'' if each.after is None else each.after.reason}",
        )
        because = Text(f"{clean(what)}{late}", "faint")
        if console.is_terminal:
            console.print(Padding.indent(changed, 2))
            console.print(Padding.indent(because, width + 4))
        else:
            console.print(Text.assemble("  ", changed, "  ", because))


def _decision(entry: Envelope) -> str:
    """Who decided what, and why."""
    try:
        event = entry.event()
    except EventUndecodable:
        return entry.type
    match event:
        case ClaimsMerged(claim=merged, into=into, opposite=opposite, reason=reason):
            what = f"{merged} merged into {'the opposite of ' if opposite else ''}{into}"
        case SpeakersMerged(speaker=merged, into=into, reason=reason):
            what = f"the speaker {merged} merged into {into}"
        case MergeUndone(position=made, reason=reason):
            what = f"the merge of position {made} undone"
        case ClaimRuled(reason=reason):
            what = "ruled"
        case RulingLifted(reason=reason):
            what = "ruling lifted"
        case _:
            return entry.type
    return f"{what} by {entry.actor}: {reason}"


def _say_lag(reading: View) -> None:
    if reading.named:
        said = "" if reading.as_of.said_by is None else f", of what was said by {reading.as_of.said_by}"
        terminal.say(f"As of position {reading.position}{said}.")
    elif reading.snapshot.stopped_at is not None:
        begun = reading.snapshot
        terminal.warn(f"This is as of position {begun.position} of {begun.head}: {begun.because}.")
    elif reading.position < reading.snapshot.head:
        at = f"{reading.position} of {reading.snapshot.head}"
        terminal.say(f"As of position {at}; a running service catches up by itself.")
