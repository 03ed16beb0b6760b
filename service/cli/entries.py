"""`onrecord log`: the entries of the log, for people or as JSON lines."""

import sys
from collections.abc import Callable
from typing import Final

import orjson
from rich.text import Text
from sqlalchemy import Engine

from service import log
from service.cli import terminal
from service.cli.listening import Listener
from service.cli.opening import open_database
from service.cli.terminal import clean
from service.config import Settings
from service.domain.errors import EventUndecodable
from service.domain.events import (
    ArticleRecorded,
    ArticleRetracted,
    ArticleRevised,
    ClaimRuled,
    ClaimsMerged,
    ClaimsRelated,
    Envelope,
    MergeUndone,
    PolicyAdopted,
    RulingLifted,
    SpeakersMerged,
    TextErased,
    recorded_text,
)

_BATCH: Final = 1000
_STYLES: Final = {"ArticleRecorded": "asserted", "ArticleRevised": "unverified", "ArticleRetracted": "denied"}


def show_log(settings: Settings, *, after: int, follow: bool, json: bool) -> None:
    """Print the entries after position `after`, and with `follow` those to come."""
    write = _write_json if json else _write
    with open_database(settings) as engine:
        if not follow:
            _show(engine, after, write)
            return
        with Listener(engine, log.CHANNEL) as listener:
            while True:
                after = _show(engine, after, write)
                sys.stdout.flush()
                listener.wait()


def _show(engine: Engine, after: int, write: Callable[[Envelope], None]) -> int:
    """Print what there is after position `after`; returns the last position printed."""
    while True:
        # A transaction for each batch: whoever reads our output may take all day.
        with engine.connect() as conn:
            entries = log.read(conn, after=after, limit=_BATCH)
        for entry in entries:
            write(entry)
        if not entries:
            return after
        after = entries[-1].position


def _write_json(entry: Envelope) -> None:
    """The envelope on one line, its payload as it is stored."""
    terminal.write(
        orjson.dumps(
            {
                "position": entry.position,
                "event_id": str(entry.event_id),
                "type": entry.type,
                "schema_version": entry.schema_version,
                "recorded_at": recorded_text(entry.recorded_at),
                "actor": entry.actor,
                "payload": orjson.Fragment(bytes(entry.payload)),
            }
        )
    )


def _write(entry: Envelope) -> None:
    console = terminal.out()
    what, url = _told(entry)
    first = Text.assemble(
        (f"{entry.position:>7}", "faint"),
        (f"  {entry.recorded_at:%Y-%m-%d %H:%M:%S}  ", "faint"),
        (entry.type.removeprefix("Article").lower().ljust(9), _STYLES.get(entry.type, "")),
        f"  {clean(what)}",
    )
    second = Text(f"{clean(url)}  {clean(entry.actor)}", "faint")
    if console.is_terminal:
        console.print(first, no_wrap=True, overflow="ellipsis")
        console.print(Text(" " * 9).append_text(second), no_wrap=True, overflow="ellipsis")
    else:
        console.print(first.append("  ").append_text(second))


def _told(entry: Envelope) -> tuple[str, str]:
    """What it is about, in a few words, and its URL."""
    try:
        event = entry.event()
    except EventUndecodable as error:
        return str(error), ""
    match event:
        case ArticleRecorded(article=article) | ArticleRevised(article=article):
            revision = f" (revision {article.revision})" if article.revision > 1 else ""
            return f"{article.outlet.name}: {article.headline or 'no headline'}{revision}", article.url
        case ArticleRetracted(url=url, reason=reason):
            return reason, url
        case TextErased(text_sha256=digest, reason=reason):
            return f"text {digest[:12]}: {reason}", ""
        case ClaimsMerged(claim=merged, into=into, opposite=opposite, reason=reason):
            return f"{merged} into {'the opposite of ' if opposite else ''}{into}: {reason}", ""
        case SpeakersMerged(speaker=merged, into=into, reason=reason):
            return f"{merged} into {into}: {reason}", ""
        case MergeUndone(position=position, reason=reason):
            return f"the merge of position {position}: {reason}", ""
        case ClaimsRelated(claim=claim, relation=relation, to=to, reason=reason):
            return f"{claim} {relation} {to}: {reason}", ""
        case ClaimRuled(claim=claim, state=state, reason=reason):
            return f"{claim} is {state}: {reason}", ""
        case RulingLifted(claim=claim, reason=reason):
            return f"{claim}: {reason}", ""
        case PolicyAdopted(policy=policy, reason=reason):
            return f"{policy}: {reason}", ""
