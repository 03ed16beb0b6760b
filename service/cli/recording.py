"""`onrecord import` and `onrecord retract`."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from rich.text import Text
from sqlalchemy import Engine
from typer import BadParameter

from service import log
from service.cli import documents, terminal
from service.cli.accompanying import projected_beside
from service.cli.acting import actor
from service.cli.documents import Document, Place
from service.cli.importing import BATCH, Import, Tally
from service.cli.opening import open_database
from service.cli.projecting import Projecting, current
from service.config import Settings
from service.domain.errors import Problem
from service.domain.events import ArticleRetracted
from service.log import NewEvent, Repeated

#: From so many documents on it pays to begin projecting before all are recorded.
_MANY: Final = 2_000
_DRY: Final = (
    f"Nothing was recorded. Documents were tried {BATCH} at a time: what one of them builds on is not seen "
    "if it stands further ahead in the same import."
)
_EMPTY: Final = "There is no document in {}: a folder is searched for *.json and *.jsonl."


def import_documents(
    settings: Settings, paths: Sequence[str], *, dry_run: bool, revise: bool, beliefs: bool = False
) -> int:
    """Record the documents that `paths` name, and say what became of them; returns the exit status.

    A dry run can say too which `beliefs` each of them would move.
    """
    with open_database(settings) as engine:
        importing = Import(engine, actor(), refuse=refuse, warn=warn, dry_run=dry_run, revise=revise)
        if beliefs:
            from service.cli.previewing import Foreseeing

            catch_up(engine, settings)
            importing.foresee = Foreseeing(engine, settings.policies.split()).show
        interrupted = False
        try:
            with _progress(paths, importing.tally) as passed, contextlib.ExitStack() as beside:
                found = _documents(paths, passed)
                importing.run(found if dry_run else _projected_meanwhile(found, engine, settings, beside))
        except KeyboardInterrupt:
            interrupted = True
        except BaseException:
            _sum_up(importing.tally, dry_run=dry_run, incomplete=True)
            raise
        _sum_up(importing.tally, dry_run=dry_run, incomplete=interrupted)
        if interrupted:
            raise KeyboardInterrupt
        if importing.tally.changed and not revise:
            terminal.say("Add --revise to record changed articles as their next revision.")
        if not dry_run:
            catch_up(engine, settings)
    return 1 if importing.tally.refused else 0


def retract(settings: Settings, url: str, *, reason: str) -> int:
    """Withdraw the article; returns the exit status."""
    event = _retraction(url, reason)
    with open_database(settings) as engine:
        with engine.begin() as conn:
            (outcome,) = log.append_all(conn, [NewEvent.of(event, actor=actor())])
        if isinstance(outcome, Repeated):
            terminal.out().print(f"{url} was retracted before, at position {outcome.position}; nothing changed.")
        else:
            with engine.begin() as conn:
                log.announce(conn)
            terminal.out().print(f"{url} is retracted, at position {outcome.position}.")
        catch_up(engine, settings)
    return 0


def catch_up(engine: Engine, settings: Settings) -> None:
    """Bring the beliefs up to the log, in case that no service runs which does it."""
    generation = current(engine, settings.policies.split())
    if generation is None:
        terminal.warn(
            "Other read tables than this program's are in use, so the beliefs are left to the service "
            "that keeps them; `onrecord project --once` makes new ones."
        )
        return
    projecting = Projecting(engine, generation)
    with terminal.waiting("Bringing the beliefs up to date ...") as update:
        for progress in projecting.catch_up():
            update(f"Bringing the beliefs up to date, at position {progress.position:,} ...")
    if projecting.stopped is not None:
        terminal.warn(f"The beliefs are as of position {projecting.position}: {projecting.stopped.because}.")


def _projected_meanwhile(
    found: Iterable[Document], engine: Engine, settings: Settings, beside: contextlib.ExitStack
) -> Iterator[Document]:
    """`found`; if there are many, a projector comes beside, unless a service's keeps up with them already."""
    generation = current(engine, settings.policies.split())
    for count, document in enumerate(found):
        if generation is not None and count == _MANY:
            now = current(engine, settings.policies.split())
            if now is not None and now.position == generation.position:
                beside.enter_context(projected_beside(engine.url, now))
        yield document


def _documents(paths: Sequence[str], passed: Callable[[int], object]) -> Iterator[Document]:
    for path in paths:
        empty = True
        for file in documents.files([path]):
            empty = False
            yield from documents.read(file, passed)
        if empty:
            terminal.warn(_EMPTY.format(path))


@contextlib.contextmanager
def _progress(paths: Sequence[str], tally: Tally) -> Generator[Callable[[int], object]]:
    """A bar on a terminal, as far along as the bytes that were read; elsewhere nothing."""
    console = terminal.err()
    if not console.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    bytes_total = sum(documents.size(file) for file in documents.files(paths))
    columns = (
        TextColumn("{task.fields[documents]}"),
        BarColumn(complete_style="default", finished_style="default"),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=bytes_total or None, documents="")

        def passed(count: int) -> None:
            done = tally.written + tally.repeated + tally.refused
            progress.update(task, advance=count, documents=f"{done:,} documents")

        yield passed


def refuse(place: Place, problem: Problem) -> None:
    terminal.err().print(Text.assemble(("refused", "error"), f"  {place}: {terminal.clean(str(problem))}"))


def warn(place: Place, message: str) -> None:
    terminal.warn(f"{place}: {terminal.clean(message)}")


def _sum_up(tally: Tally, *, dry_run: bool, incomplete: bool) -> None:
    """One line that says what became of everything."""
    would = "would be " if dry_run else ""
    parts = [
        f"{tally.recorded:,} {would}recorded",
        f"{tally.revised:,} {would}revised" if tally.revised else "",
        f"{tally.repeated:,} known already" if tally.repeated else "",
        f"{tally.refused:,} {would}refused" if tally.refused else "",
    ]
    are = "is" if tally.retracted == 1 else "are"
    retracted = f" {tally.retracted:,} of those known {are} retracted." if tally.retracted else ""
    terminal.out().print(f"{', '.join(part for part in parts if part)}.{retracted}")
    if dry_run:
        terminal.say(_DRY)
    elif incomplete:
        terminal.say("The import did not come to its end. What is recorded stays; run it again to go on.")


def _retraction(url: str, reason: str) -> ArticleRetracted:
    try:
        return ArticleRetracted(url=url, reason=reason)
    except ValidationError as error:
        fault = error.errors()[0]
        raise BadParameter(fault["msg"], param_hint="URL" if "url" in fault["loc"] else "--reason") from None


def missing(paths: Sequence[str]) -> str | None:
    """The first of the paths that is not there."""
    return next((path for path in paths if path != documents.STDIN and not Path(path).exists()), None)
