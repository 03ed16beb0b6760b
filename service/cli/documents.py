"""Article documents as they lie about: files, folders, lines of JSONL, standard input."""

import os
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from service.domain import article as documents
from service.domain.article import DOCUMENT_BYTES_MAX
from service.domain.errors import DocumentInvalid, Problem

#: How standard input is named among the paths.
STDIN: Final = "-"
_LINES: Final = (".jsonl", ".ndjson")
_DOCUMENTS: Final = (".json",)
#: A line of this length and no end of line is too long for a document.
_LINE_BYTES_MAX: Final = DOCUMENT_BYTES_MAX + len(b"\r\n")
_PIECE_BYTES: Final = 1 << 16
_TOO_LONG: Final = f"is longer than {DOCUMENT_BYTES_MAX:,} bytes (4 MiB), the most that a document may have"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document was read, as people look it up: `articles.jsonl:12`."""

    name: str
    line: int | None = None

    def __str__(self) -> str:
        return self.name if self.line is None else f"{self.name}:{self.line}"


@dataclass(frozen=True, slots=True)
class Document:
    """The bytes of one document, or why there are none."""

    place: Place
    raw: bytes
    unreadable: str | None = None

    def article(self) -> documents.Article:
        """The article in it. Raises DocumentInvalid."""
        if self.unreadable is not None:
            raise DocumentInvalid([Problem("", self.unreadable)])
        try:
            return documents.read(self.raw)
        except DocumentInvalid as error:
            if self.place.line is None:
                raise
            # Of a line of JSONL its reader counts the columns alone.
            told = [
                Problem(each.path, each.message.replace(" at line 1, column", " at column")) for each in error.problems
            ]
            raise DocumentInvalid(told) from None


def files(paths: Sequence[str]) -> Iterator[str]:
    """The files that `paths` name: each itself, of a folder its documents, in order of their names."""
    for path in paths:
        if path != STDIN and Path(path).is_dir():
            yield from _within(Path(path))
        else:
            yield path


def size(file: str) -> int:
    """How many bytes it has, as far as that can be known beforehand."""
    if file == STDIN:
        return 0
    try:
        found = Path(file).stat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def read(file: str, passed: Callable[[int], object]) -> Iterator[Document]:
    """The documents in `file`, one at a time; `passed` is told of the bytes as they go by.

    A file that cannot be read, and a line or file longer than a document may
    be, comes as a document that says so; what is too long is never in memory whole.
    """
    try:
        if file == STDIN:
            yield from _unnamed(sys.stdin.buffer, "standard input", passed)
            return
        with Path(file).open("rb") as opened:
            if file.lower().endswith(_LINES):
                yield from _lines(opened, file, passed)
            else:
                yield _whole(opened, file, passed)
    except OSError as error:
        yield Document(Place(file), b"", f"cannot be read: {error.strerror or error}")


def _within(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _within(Path(entry.path))
        elif entry.name.lower().endswith((*_DOCUMENTS, *_LINES)):
            yield entry.path


def _whole(opened: IO[bytes], name: str, passed: Callable[[int], object], begun: bytes = b"") -> Document:
    raw = begun + opened.read(max(0, DOCUMENT_BYTES_MAX + 1 - len(begun)))
    passed(len(raw) - len(begun))
    if len(raw) > DOCUMENT_BYTES_MAX:
        return Document(Place(name), b"", _TOO_LONG)
    return Document(Place(name), raw)


def _lines(
    opened: IO[bytes], name: str, passed: Callable[[int], object], begun: Sequence[bytes] = ()
) -> Iterator[Document]:
    waiting = deque(begun)
    number = 0
    while line := waiting.popleft() if waiting else opened.readline(_LINE_BYTES_MAX):
        number += 1
        passed(len(line))
        if len(line) == _LINE_BYTES_MAX and not line.endswith(b"\n"):
            # What is left of the line goes by in pieces.
            while line and not line.endswith(b"\n"):
                line = waiting.popleft() if waiting else opened.readline(_PIECE_BYTES)
                passed(len(line))
            yield Document(Place(name, number), b"", _TOO_LONG)
        elif line.strip():
            yield Document(Place(name, number), line.rstrip(b"\r\n"))


def _unnamed(opened: IO[bytes], name: str, passed: Callable[[int], object]) -> Iterator[Document]:
    """What has no name says not what it is: lines, if one of the first two is JSON; else one document."""
    begun: list[bytes] = []
    while sum(1 for line in begun if line.strip()) < 2 and (line := opened.readline(_LINE_BYTES_MAX)):
        begun.append(line)
    if any(_is_object(line) for line in begun) or any(len(line) == _LINE_BYTES_MAX for line in begun):
        yield from _lines(opened, name, passed, begun)
    elif begun:
        yield _whole(opened, name, passed, b"".join(begun))


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(documents.decode(line), dict)
    except DocumentInvalid:
        return False
