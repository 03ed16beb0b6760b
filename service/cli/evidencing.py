"""`onrecord evidence`: a belief as files that need no service to be read."""

from pathlib import Path

from typer import TyperException

from service.audit.evidence import evidence
from service.cli import moments, proving, terminal
from service.cli.opening import open_database
from service.config import Settings
from service.domain.policies import policy
from service.queries.snapshot import as_of, view


def write(
    settings: Settings, slug: str, folder: Path, *, then: str | None, said_by: str | None, under: str | None
) -> None:
    """Write the files into the folder, which must be new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TyperException(f"{folder} is there already; name a new folder, or empty it.")
    position, recorded_at = moments.then(then)
    with open_database(settings) as engine:
        proving.cover(engine, settings)
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with engine.connect().execution_options(**options) as conn:
            now = view(conn)
            if now is None:
                raise TyperException("Nothing is on record here yet; record articles with `onrecord import`.")
            reading = now.at(as_of(now, position=position, recorded_at=recorded_at, said_by=said_by))
            made = evidence(reading, slug, policy(under) if under else reading.policy)
    files = made.files()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    belief = made.belief
    terminal.say(f"{made.claim.claim} is {belief.state} ({belief.reason}) as of position {made.position}.")
    count = len(made.entries)
    many = "1 event with its proof is" if count == 1 else f"{count:,} events with their proofs are"
    terminal.say(f"{many} in {folder}; open index.html, or see README.txt.")
