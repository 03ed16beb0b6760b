"""Recording many documents: a batch is appended while the next is read, checked and hashed."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from sqlalchemy import Connection, Engine

from service import log
from service.cli import revising
from service.cli.documents import Document, Place
from service.domain import article as documents
from service.domain.article import Article
from service.domain.errors import ArticleChanged, Busy, DocumentInvalid, Problem
from service.domain.events import ArticleRecorded, ArticleRevised, Event
from service.log import Appended, NewEvent, Outcome, Refused, Repeated

#: How many documents are appended together. The lock is held for a batch, so others wait for no more.
BATCH: Final = 100
#: And how many bytes of documents a batch holds at most, but for the last of them. Two batches are in memory.
_BATCH_BYTES: Final = 16 * 1024 * 1024
#: And where what they would move is foreseen too, which takes longer.
_FORESEEN_BYTES: Final = 1024 * 1024
_TRIES: Final = 5
_RETRACTED: Final = (
    "is retracted, at position {}; to send a known revision again does not bring it back, its next one does"
)


@dataclass(slots=True)
class Tally:
    """What became of the documents so far."""

    recorded: int = 0
    revised: int = 0
    repeated: int = 0
    retracted: int = 0  #: of the repeated, those whose article is retracted.
    refused: int = 0
    changed: int = 0  #: of the refused, those that only lack the number of their revision.

    @property
    def written(self) -> int:
        return self.recorded + self.revised


@dataclass(frozen=True, slots=True)
class _Ready:
    place: Place
    article: Article
    event: NewEvent


@dataclass(slots=True)
class Import:
    """Records documents. What is committed is counted, whatever ends the import."""

    engine: Engine
    actor: str
    refuse: Callable[[Place, Problem], object]
    warn: Callable[[Place, str], object]
    dry_run: bool = False
    revise: bool = False
    #: Of a dry run: is told of each batch, where its documents stand and how they would be sent.
    foresee: Callable[[Sequence[Place], Sequence[NewEvent]], object] | None = None
    tally: Tally = field(default_factory=Tally)
    #: The batch that is being appended, as it was sent in the end, and what became of each of it.
    _under_way: tuple[list[_Ready], Future[tuple[list[NewEvent], list[Outcome]]]] | None = None
    #: What is to be told of documents after those of that batch.
    _held_back: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])

    def run(self, found: Iterable[Document]) -> None:
        """Record all of them, batch by batch.

        Each batch is a transaction. A dry run rolls it back, so that it sees what
        was in the log before, and of the other documents those of its batch alone.
        """
        with ThreadPoolExecutor(1, "append") as appending:
            try:
                for batch in self._batches(found):
                    self._settle()
                    self._under_way = batch, appending.submit(self._sent, batch)
            finally:
                # Also where reading was interrupted: what is being appended will have been recorded.
                self._settle()

    def _settle(self) -> None:
        """Wait for the batch under way, count what became of it, and tell what was held back meanwhile."""
        if self._under_way is None:
            return
        batch, sending = self._under_way
        # Whoever is interrupted here comes again.
        wait([sending])
        self._under_way = None
        try:
            sent, outcomes = sending.result()
            if self.foresee is not None:
                self.foresee([ready.place for ready in batch], sent)
            for ready, new, outcome in zip(batch, sent, outcomes, strict=True):
                self._count(ready.place, new.event, outcome)
        finally:
            told, self._held_back = self._held_back, []
            for tell in told:
                tell()

    def _tell(self, tell: Callable[[], object]) -> None:
        """Tell something of the document that was read last, after all that is told of those before it."""
        if self._under_way is not None and self._under_way[1].done():
            self._settle()
        if self._under_way is None:
            tell()
        else:
            self._held_back.append(tell)

    def _batches(self, found: Iterable[Document]) -> Iterator[list[_Ready]]:
        batch: list[_Ready] = []
        urls: set[str] = set()
        held = 0
        most = _BATCH_BYTES if self.foresee is None else _FORESEEN_BYTES
        for document in found:
            ready = self._ready(document)
            if ready is None:
                continue
            url = ready.article.url
            # To revise an article one must know its newest revision, which may be one document back.
            if len(batch) == BATCH or held > most or (self.revise and url in urls):
                yield batch
                batch, held = [], 0
                urls.clear()
            batch.append(ready)
            urls.add(url)
            held += len(document.raw)
        if batch:
            yield batch

    def _ready(self, document: Document) -> _Ready | None:
        """The document as an event; None where it is refused, which has been said then."""
        try:
            article = document.article()
        except DocumentInvalid as error:
            self.tally.refused += 1
            for problem in error.problems:
                self._tell(partial(self.refuse, document.place, problem))
            return None
        for problem in documents.warnings(article):
            self._tell(partial(self.warn, document.place, str(problem)))
        return _Ready(document.place, article, NewEvent.of_article(article, actor=self.actor))

    def _sent(self, batch: Sequence[_Ready]) -> tuple[list[NewEvent], list[Outcome]]:
        """A batch as it was sent in the end, and what became of each of it."""
        new = [ready.event for ready in batch]
        if not self.revise:
            return new, self._appended(new)
        articles = [ready.article for ready in batch]
        # Who does not say which revision it is means the article as it is now.
        self._as_newest(
            new, articles, [i for i, each in enumerate(articles) if "revision" not in each.model_fields_set]
        )
        outcomes = self._appended(new)
        for _ in range(_TRIES):
            # One may also say revision 1 and mean it as it is now; and others revise it while we look.
            changed = [i for i, outcome in enumerate(outcomes) if _changed(outcome)]
            if not changed:
                break
            self._as_newest(new, articles, changed)
            for i, outcome in zip(changed, self._appended([new[i] for i in changed]), strict=True):
                outcomes[i] = outcome
        return new, outcomes

    def _as_newest(self, new: list[NewEvent], articles: Sequence[Article], which: Sequence[int]) -> None:
        """Send these as their newest revision: the recorded one if they say the same, else the next."""
        if not which:
            return
        with self.engine.connect() as conn:
            recorded = revising.newest(conn, [articles[i].url for i in which])
        for i in which:
            article = revising.renumbered(articles[i], recorded.get(articles[i].url))
            new[i] = NewEvent.of_article(article, actor=self.actor)

    def _appended(self, new: Sequence[NewEvent]) -> list[Outcome]:
        for left in reversed(range(_TRIES)):
            try:
                with self._transaction() as conn:
                    outcomes = log.append(conn, new)
                break
            except Busy:
                if not left:
                    raise
                time.sleep(0.2)
        else:
            raise AssertionError
        if not self.dry_run and any(isinstance(outcome, Appended) for outcome in outcomes):
            with self.engine.begin() as conn:
                log.announce(conn)
        return outcomes

    @contextlib.contextmanager
    def _transaction(self) -> Generator[Connection]:
        with self.engine.connect() as conn, conn.begin() as transaction:
            yield conn
            if self.dry_run:
                transaction.rollback()

    def _count(self, place: Place, event: Event, outcome: Outcome) -> None:
        match outcome:
            case Appended():
                self.tally.revised += isinstance(event, ArticleRevised)
                self.tally.recorded += isinstance(event, ArticleRecorded)
            case Repeated(retracted_at=retracted_at):
                self.tally.repeated += 1
                if retracted_at is not None:
                    self.tally.retracted += 1
                    self.warn(place, _RETRACTED.format(retracted_at))
            case Refused(error=error):
                self.tally.refused += 1
                self.tally.changed += _changed(outcome)
                self.refuse(place, Problem("", str(error)))


def _changed(outcome: Outcome) -> bool:
    return isinstance(outcome, Refused) and isinstance(outcome.error, ArticleChanged)
