"""Verify: is everything that is stored what the log says, and is the log what it was?

It trusts no stored hash: every payload is hashed anew, every leaf made anew, and
whatever is derived from the log is derived anew and compared, both ways.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Table, Text, cast, select

from service import projector, tables, tree
from service.audit.expecting import ExpectedReadTables, ExpectedRegister, Row, Rows
from service.audit.folding import uncollected
from service.domain import events, merkle
from service.domain.errors import EventUndecodable
from service.domain.events import Envelope, Event, sha256
from service.projector import Generation
from service.proof import Checkpoint

_BATCH: Final = 1000
#: Rows come as they are looked at, however many there are.
_STREAM: Final = {"stream_results": True}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that is not as it must be."""

    where: str  #: `event`, a table's name, `generation`, `text`, `tree` or `checkpoint`.
    told: str
    position: int | None = None  #: the entry of the log that it is about, if it is about one.
    claim: str | None = None

    def __str__(self) -> str:
        at = "" if self.position is None else f" {self.position}"
        about = "" if self.claim is None else f" ({self.claim})"
        return f"{self.where}{at}{about}: {self.told}"


@dataclass(slots=True)
class Verified:
    """How much was looked at, and how much of it was not as it must be."""

    head: int = 0
    entries: int = 0
    register_rows: int = 0
    read_rows: int = 0
    texts: int = 0
    in_tree: int = 0  #: how many entries the stored tree says it has.
    mismatches: int = 0
    #: What could not be compared, and why; not a mismatch by itself.
    omitted: list[str] = field(default_factory=list[str])


def verify(conn: Connection, report: Callable[[Mismatch], object], *, note: str | None = None) -> Verified:
    """Compare all that is stored with what the log says, and report each mismatch as it is found.

    With a `note`, a checkpoint of this log that was kept elsewhere, also whether the log still
    begins with the entries that it was signed for. Nothing else can tell of a log that was
    exchanged whole: entries together with their hashes, the tree, and all that follows from them.

    In one snapshot: the caller's transaction is REPEATABLE READ, READ ONLY. What
    follows from an event that cannot be read or folded cannot be known, so up to there the
    register and read tables are compared, and not beyond it; the event is reported.

    Raises CheckpointInvalid where the note cannot be read or is not signed by this log's key.
    """
    checkpoint = None if note is None else tree.opened(conn, note)
    return _Verification(conn, report, checkpoint).run()


class _Verification:
    def __init__(self, conn: Connection, report: Callable[[Mismatch], object], checkpoint: Checkpoint | None) -> None:
        self._conn = conn
        self._report = report
        self._checkpoint = checkpoint
        #: Over leaves that are made anew, so that it depends on nothing that is stored beside the entries.
        self._tree = merkle.Tree()
        self._root: bytes | None = None  #: once it has as many leaves as the checkpoint was signed for.
        self._whole = True  #: no entry is missing.
        self._found = Verified()
        self._generation = next((each for each in projector.generations(conn) if each.live), None)
        self._register = ExpectedRegister()
        #: The first event that cannot be folded; nothing from there on is compared.
        self._broken: int | None = None

    def run(self) -> Verified:
        generation = self._comparable()
        read_tables = None if generation is None else ExpectedReadTables(generation.policies)
        until = 0 if generation is None else generation.position
        with uncollected():
            for position, event in self._events():
                if self._broken is not None:
                    continue
                why = self._register.take(event, position)
                if why is None and read_tables is not None and position <= until:
                    try:
                        read_tables.take(event, position)
                    except (ValueError, KeyError) as error:
                        why = f"{type(error).__name__}: {error}"
                if why is not None:
                    self._broken = position
                    self._tell("event", f"the log before it does not go on like this: {why}", position=position)
        self._check_register()
        if generation is not None and read_tables is not None:
            self._check_read_tables(generation, read_tables)
        self._check_texts()
        self._check_checkpoint()
        self._check_tree()
        return self._found

    def _tell(self, where: str, told: str, *, position: int | None = None, claim: str | None = None) -> None:
        self._found.mismatches += 1
        self._report(Mismatch(where, told, position, claim))

    def _omit(self, why: str) -> None:
        self._found.omitted.append(why)

    # --- the log ------------------------------------------------------------------------

    def _events(self) -> Iterator[tuple[int, Event]]:
        """What happened, with each entry looked at by itself and beside the one before it."""
        self._grow(None)
        expected, last = 1, None
        for entry, payload_sha256, leaf in _entries(self._conn):
            position = entry.position
            if position != expected:
                missing = f"{expected}" if position == expected + 1 else f"{expected} to {position - 1}"
                told = f"entry {missing} is missing before it" if position > expected else "its position is impossible"
                self._tell("event", told, position=position)
                self._whole = False
            expected = position + 1
            if last is not None and entry.recorded_at <= last:
                self._tell("event", "it is not recorded after the entry before it", position=position)
            last = entry.recorded_at
            self._found.head, self._found.entries = position, self._found.entries + 1
            event = self._entry(entry, payload_sha256, leaf)
            if event is not None:
                yield position, event
            elif self._broken is None:
                self._broken = position

    def _entry(self, entry: Envelope, payload_sha256: bytes, leaf: bytes) -> Event | None:
        """What an entry says, once its hashes are made anew; None where it cannot be read."""
        position = entry.position
        if sha256(entry.payload) != payload_sha256:
            self._tell("event", "payload_sha256 is not the hash of its payload", position=position)
        made = events.leaf_of(entry)
        self._grow(made)
        if made != leaf:
            self._tell("event", "leaf is not that of its envelope and payload", position=position)
        try:
            event = entry.event()
        except EventUndecodable as error:
            self._tell("event", str(error), position=position)
            return None
        if not events.is_canonical(entry, event):
            self._tell("event", "payload is not in canonical form", position=position)
        return event

    def _grow(self, leaf: bytes | None) -> None:
        if leaf is not None:
            self._tree.append(merkle.leaf_hash(leaf))
        if self._checkpoint is not None and self._tree.size == self._checkpoint.size:
            self._root = self._tree.root()

    # --- what is derived from it --------------------------------------------------------

    def _check_register(self) -> None:
        if self._broken is not None:
            self._omit(f"the register from position {self._broken} on, as that event cannot be folded")
        for table in tables.REGISTER:
            rows = select(*table.columns)
            if self._broken is not None:
                rows = rows.where(table.c.position < self._broken)
            found = self._conn.execute(rows, execution_options=_STREAM)
            self._found.register_rows += self._compare(table, table.name, found, self._register.rows)

    def _comparable(self) -> Generation | None:
        generation = self._generation
        if generation is None:
            self._omit("the read tables, as none are live")
        elif generation.shape != projector.shape():
            self._omit("the read tables, as they are those of another version of onrecord")
            return None
        return generation

    def _check_read_tables(self, generation: Generation, expected: ExpectedReadTables) -> None:
        position = generation.position
        if position > self._found.head:
            told = f"{generation.schema_name} is projected up to {position}, and the log ends at {self._found.head}"
            self._tell("generation", told)
        if self._broken is not None and self._broken <= position:
            self._omit(f"the read tables, as they are projected beyond event {self._broken}, which cannot be folded")
            return
        for table in tables.read_metadata.sorted_tables:
            # As text, since a dictionary may be one that this server does not have.
            columns = [cast(each, Text) if each.name == "dictionary" else each for each in table.columns]
            rows = select(*columns)
            schemas = {"schema_translate_map": {None: generation.schema_name}}
            found = self._conn.execute(rows, execution_options={**_STREAM, **schemas})
            name = f"{generation.schema_name}.{table.name}"
            self._found.read_rows += self._compare(table, name, found, expected.rows)

    def _compare(self, table: Table, name: str, found: Any, expected: Rows) -> int:
        """Compare the rows of a table with those expected, both ways; returns how many are stored."""
        names = [column.name for column in table.columns]
        key_at = [names.index(column.name) for column in table.primary_key]
        left = expected.by_table.pop(table.name, {})
        count = 0
        for stored in found:
            count += 1
            values: list[Any] = list(stored)
            row = left.pop(tuple(values[at] for at in key_at), None)
            if row is None:
                self._tell_row(name, "is there, and nothing in the log says so", dict(zip(names, values, strict=True)))
                continue
            differing = [
                f"{column} is {_shown(value)}, and the log says {_shown(row[column])}"
                for column, value in zip(names, values, strict=True)
                if value != row[column]
            ]
            if differing:
                self._tell_row(name, "; ".join(differing), row)
        for row in left.values():
            self._tell_row(name, "is missing", row)
        return count

    def _tell_row(self, name: str, told: str, row: Row) -> None:
        table = name.rpartition(".")[2]
        primary = (tables.log_metadata.tables.get(f"onrecord.{table}"), tables.read_metadata.tables.get(table))
        (key,) = (each.primary_key for each in primary if each is not None)
        shown = ", ".join(f"{column.name} {_shown(row[column.name])}" for column in key)
        position, claim = row.get("position", row.get("first_position")), row.get("claim")
        self._tell(name, f"row {shown} {told}" if told.startswith("is ") else f"row {shown}: {told}",
                   position=position, claim=claim)  # fmt: skip

    # --- what is beside it --------------------------------------------------------------

    def _check_texts(self) -> None:
        row = tables.article_text.c
        found = self._conn.execute(select(row.sha256, row.content), execution_options=_STREAM)
        for digest, content in found:
            self._found.texts += 1
            name = bytes(digest).hex()
            if sha256(content.encode()) != bytes(digest):
                self._tell("text", f"{name} is not the hash of its content")
            if bytes(digest) in self._register.erased:
                self._tell("text", f"{name} was erased, and is there")
            elif self._broken is None and bytes(digest) not in self._register.texts:
                self._tell("text", f"{name} is there, and no article names it")

    def _check_checkpoint(self) -> None:
        signed = self._checkpoint
        if signed is None:
            return
        if self._root is None:
            self._tell("checkpoint", f"it was signed for {signed.size} entries, and the log has {self._tree.size}")
        elif self._root != signed.root:
            told = f"the first {signed.size} entries are not those that it was signed for: some were exchanged"
            self._tell("checkpoint", told)

    def _check_tree(self) -> None:
        self._found.in_tree = self._conn.execute(select(tables.tree.c.size)).scalar_one()
        if not self._whole:
            self._omit("the tree, as entries of the log are missing")
            return
        for told in tree.mismatches(self._conn):
            self._tell("tree", told.removesuffix("."))


def _entries(conn: Connection) -> Iterator[tuple[Envelope, bytes, bytes]]:
    """Every entry with its stored hashes, in order of position."""
    row = tables.event.c
    columns = (row.position, row.event_id, row.type, row.schema_version, row.recorded_at, row.actor, row.payload)
    after = -(2**63)
    while True:
        asked = select(*columns, row.payload_sha256, row.leaf).where(row.position > after)
        found: Sequence[Any] = conn.execute(asked.order_by(row.position).limit(_BATCH)).all()
        for each in found:
            yield Envelope(*each[:7]), each[7], each[8]
        if len(found) < _BATCH:
            return
        after = found[-1][0]


def _shown(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bytes():
            return value.hex()
        case datetime():
            return events.recorded_text(value)
        case str() if len(value) > 80:
            return repr(f"{value[:77]}...")
        case str():
            return repr(str(value))
        case _:
            return str(value)
