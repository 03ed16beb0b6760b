"""Export and import: the log as JSON lines, which elsewhere give the same positions, leaves, root and digests.

    {"format":"onrecord-log@1","from":1,"before":"<root of the entries before>"}
    {"position":1,"event_id":...,"type":...,"schema_version":...,"recorded_at":...,"actor":...,"payload":{...}}
    {"text_sha256":"...","text":"..."}
    {"count":1,"to":1,"root":"<root of all entries up to here>"}

The first line says what it is, the last that it is whole. A text, where texts are
exported at all, follows the first entry that names it. Roots are RFC 6962 over the leaves
of the whole log, so that of an export from position 1 is the log's own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import orjson
from sqlalchemy import Connection, select

from service import log, tables, texts
from service.audit.folding import last_position
from service.domain import events, merkle
from service.domain.canonical import canonical_json
from service.domain.errors import BadArgument, ExportInvalid, LogDiffers
from service.domain.events import ArticleRecorded, ArticleRevised, Envelope, recorded_text, sha256

FORMAT: Final = "onrecord-log@1"
#: No line is longer: an entry has at most 4 MiB of document, a text at most 1 MiB, six bytes a character.
LINE_BYTES_MAX: Final = 32 * 1024 * 1024
_BATCH: Final = 200
#: Whoever sends the file may pause, and holds the log meanwhile.
_IDLE: Final = "10min"


@dataclass(frozen=True, slots=True)
class Transferred:
    """What an export or import came to."""

    position: int  #: of the last entry.
    entries: int  #: exported, or recorded by the import.
    known: int  #: of an import, those that were here already.
    texts: int
    root: bytes  #: over all entries up to the last.


def export_log(
    conn: Connection,
    write: Callable[[bytes], object],
    *,
    first: int = 1,
    to: int | None = None,
    with_texts: bool = False,
) -> Transferred:
    """Write the entries from `first` to `to`, or to the head, each as one line without its end.

    Texts are left out unless asked for, since they can be erased here and an export cannot:
    whoever exports them keeps a copy that a later `TextErased` does not reach.

    In one snapshot, for a log that grows meanwhile. What is written is what the bytes say,
    not what stored hashes do. Raises BadArgument.
    """
    to = last_position(conn, to)
    if not 1 <= first <= to + 1:
        raise BadArgument(f"position {first} cannot be the first of an export that goes up to {to}")
    tree, count, written = merkle.Tree(), 0, set[bytes]()
    for entries in _batches(conn, after=0, to=first - 1):
        for entry in entries:
            _grow(tree, entry)
    write(canonical_json({"format": FORMAT, "from": first, "before": tree.root().hex()}))
    for entries in _batches(conn, after=first - 1, to=to):
        held = _texts_of(conn, entries, written) if with_texts else {}
        for entry in entries:
            _grow(tree, entry)
            count += 1
            write(_line(entry))
            if held and (digest := _names_text(entry)) in held:
                written.add(digest)
                write(canonical_json({"text_sha256": digest.hex(), "text": held.pop(digest)}))
    write(canonical_json({"count": count, "to": to, "root": tree.root().hex()}))
    return Transferred(to, count, 0, len(written), tree.root())


def import_log(conn: Connection, lines: Iterable[bytes], *, wait_s_max: float = 5.0) -> Transferred:
    """Record an exported log here, verbatim: every entry keeps its position, id, time and actor.

    An empty database takes any export that begins at position 1. One that holds
    something takes what continues it: every entry that it has must be the same, byte for
    byte, and the export must begin at latest where it ends. So an import can be
    repeated, and a later export brings a copy up to date. Anything else is refused.

    All or nothing: the caller owns the transaction, at READ COMMITTED, and rolls
    back where this raises; nobody else appends before it ends. An export that was cut off lacks
    its last line, and is refused there. Texts are taken if they come along, each
    checked against its hash, but for those that the log says are erased.

    Raises ExportInvalid, EntryRefused, LogDiffers, Busy.
    """
    log.take_turn(conn, wait_s_max=wait_s_max)
    conn.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE}'")
    return _Import(conn).run(lines)


@dataclass(slots=True)
class _Import:
    conn: Connection
    head: int = 0  #: of the log here when it began.
    tree: merkle.Tree = field(default_factory=merkle.Tree)
    waiting: list[Envelope] = field(default_factory=list[Envelope])
    kept: dict[bytes, str] = field(default_factory=dict[bytes, str])  #: texts that wait with them.
    taken: set[bytes] = field(default_factory=set[bytes])
    added: int = 0
    known: int = 0

    def run(self, lines: Iterable[bytes]) -> Transferred:
        self.head = log.head(self.conn)
        numbered = enumerate(lines, 1)
        number, first = self._begin(numbered)
        last: Envelope | None = None
        trailer: Mapping[str, Any] | None = None
        for number, line in numbered:
            read = _object(number, line)
            if trailer is not None:
                raise ExportInvalid(number, "something follows the last line")
            if "position" in read:
                last = _envelope(number, read)
                if last.position != self.tree.size + 1:
                    raise ExportInvalid(
                        number, f"position {self.tree.size + 1} comes next, and this is {last.position}"
                    )
                self._take(last)
            elif "text" in read:
                self._take_text(number, read, last)
            else:
                trailer = read
        self._flush()
        if trailer is None:
            raise ExportInvalid(number + 1, "its last line is missing: it was cut off")
        self._end(number, trailer, first)
        self._drop_erased()
        return Transferred(self.tree.size, self.added, self.known, len(self.taken), self.tree.root())

    def _begin(self, numbered: Iterator[tuple[int, bytes]]) -> tuple[int, int]:
        number, line = next(numbered, (1, b""))
        if not line:
            raise ExportInvalid(1, "it is empty")
        header = _object(number, line)
        if header.get("format") != FORMAT:
            raise ExportInvalid(number, f"it does not say that it is {FORMAT}, so this program cannot read it")
        _fields(number, header, {"format", "from", "before"})
        first = _whole(number, header, "from")
        if not 1 <= first <= self.head + 1:
            raise LogDiffers(f"it begins at position {first}, and the log here ends at {self.head}")
        for entries in _batches(self.conn, after=0, to=first - 1):
            for entry in entries:
                _grow(self.tree, entry)
        if header["before"] != self.tree.root().hex():
            raise LogDiffers(f"the entries before its position {first} are others")
        return number, first

    def _take(self, entry: Envelope) -> None:
        _grow(self.tree, entry)
        self.waiting.append(entry)
        if len(self.waiting) == _BATCH:
            self._flush()

    def _take_text(self, number: int, read: Mapping[str, Any], last: Envelope | None) -> None:
        _fields(number, read, {"text_sha256", "text"})
        text, named = read["text"], read["text_sha256"]
        if not isinstance(text, str) or sha256(text.encode()).hex() != named:
            raise ExportInvalid(number, "text_sha256 is not the hash of the text")
        digest = bytes.fromhex(str(named))
        if last is None or _names_text(last) != digest:
            raise ExportInvalid(number, "the entry before it does not name this text")
        self.kept[digest] = text

    def _flush(self) -> None:
        """Compare those that are here already with what is here, and record the others."""
        known = [entry for entry in self.waiting if entry.position <= self.head]
        if known:
            stored = log.read(self.conn, after=known[0].position - 1, limit=len(known))
            for entry, here in zip(known, stored, strict=True):
                if entry != here:
                    raise LogDiffers(f"position {entry.position} is another entry")
        # Kept first, so that an erasure among the entries erases them.
        texts.keep(self.conn, self.kept)
        log.adopt(self.conn, self.waiting[len(known) :])
        self.known += len(known)
        self.added += len(self.waiting) - len(known)
        self.taken |= self.kept.keys()
        self.waiting.clear()
        self.kept.clear()

    def _end(self, number: int, trailer: Mapping[str, Any], first: int) -> None:
        _fields(number, trailer, {"count", "to", "root"})
        count, to = _whole(number, trailer, "count"), _whole(number, trailer, "to")
        if (count, to) != (self.tree.size - first + 1, self.tree.size):
            raise ExportInvalid(number, f"it says {count} entries up to {to}; {self.tree.size - first + 1} are there")
        if trailer["root"] != self.tree.root().hex():
            raise ExportInvalid(number, "its root is not that of its entries: some were changed")

    def _drop_erased(self) -> None:
        """Whatever is erased anywhere in the log stays so."""
        row = tables.register_erasure.c.sha256
        erased = set(self.conn.execute(select(row)).scalars()) if self.taken else set[bytes]()
        erased &= self.taken
        texts.erase(self.conn, erased)
        self.taken -= erased


# --- entries ------------------------------------------------------------------------------


def _batches(conn: Connection, *, after: int, to: int) -> Iterator[list[Envelope]]:
    """The entries after `after` up to `to`, some at a time."""
    while after < to and (entries := log.read(conn, after=after, limit=min(_BATCH, to - after))):
        yield entries
        after = entries[-1].position


def _grow(tree: merkle.Tree, entry: Envelope) -> None:
    tree.append(merkle.leaf_hash(events.leaf_of(entry)))


def _line(entry: Envelope) -> bytes:
    """The envelope on one line, its payload as it is stored."""
    return orjson.dumps(
        {
            "position": entry.position,
            "event_id": str(entry.event_id),
            "type": entry.type,
            "schema_version": entry.schema_version,
            "recorded_at": recorded_text(entry.recorded_at),
            "actor": entry.actor,
            "payload": orjson.Fragment(entry.payload),
        }
    )


_ENVELOPE: Final = {"position", "event_id", "type", "schema_version", "recorded_at", "actor", "payload"}


def _envelope(number: int, read: Mapping[str, Any]) -> Envelope:
    _fields(number, read, _ENVELOPE)
    for name in ("event_id", "type", "recorded_at", "actor"):
        if not isinstance(read[name], str):
            raise ExportInvalid(number, f"{name} is no text")
    try:
        event_id, recorded_at = UUID(read["event_id"]), datetime.fromisoformat(read["recorded_at"])
        payload = canonical_json(read["payload"])
    except (ValueError, TypeError) as error:
        raise ExportInvalid(number, str(error)) from None
    if recorded_at.tzinfo is None or (recorded_text(recorded_at), str(event_id)) != (
        read["recorded_at"],
        read["event_id"],
    ):
        raise ExportInvalid(number, "event_id or recorded_at is not written as exports write it")
    position, version = _whole(number, read, "position"), _whole(number, read, "schema_version")
    return Envelope(position, event_id, read["type"], version, recorded_at, read["actor"], payload)


def _names_text(entry: Envelope) -> bytes:
    """The hash of the text of the article that an entry holds; empty if there is none."""
    event = entry.event()
    if isinstance(event, ArticleRecorded | ArticleRevised) and event.article.text_sha256 is not None:
        return bytes.fromhex(event.article.text_sha256)
    return b""


def _texts_of(conn: Connection, entries: Iterable[Envelope], written: set[bytes]) -> dict[bytes, str]:
    """The texts that these entries name and that are held, but for those that were written."""
    return texts.texts_by_hash(conn, {_names_text(entry) for entry in entries} - written - {b""})


# --- lines --------------------------------------------------------------------------------


def _object(number: int, line: bytes) -> Mapping[str, Any]:
    if len(line) > LINE_BYTES_MAX:
        raise ExportInvalid(number, "it is longer than any line of an export")
    try:
        read = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        why = "it was cut off in the middle" if not line.endswith(b"\n") else f"it is not JSON: {error}"
        raise ExportInvalid(number, why) from None
    if not isinstance(read, dict):
        raise ExportInvalid(number, "it is no JSON object")
    return cast("Mapping[str, Any]", read)


def _fields(number: int, read: Mapping[str, Any], wanted: set[str]) -> None:
    for name in sorted(read.keys() ^ wanted):
        raise ExportInvalid(number, f"{name} is {'missing' if name in wanted else 'not known here'}")


def _whole(number: int, read: Mapping[str, Any], name: str) -> int:
    value = read[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise ExportInvalid(number, f"{name} is no whole number")
    return value
