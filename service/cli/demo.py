"""`onrecord demo`: the service with the example articles in it, apart from everybody's data."""

from pathlib import Path
from typing import Final

from rich.padding import Padding
from rich.text import Text

from service.cli import documents, terminal
from service.cli.acting import actor
from service.cli.importing import Import
from service.cli.opening import open_database
from service.cli.recording import catch_up, refuse, warn
from service.cli.serving import bound, serve
from service.config import Settings

_QUERY: Final = "{ claims(first: 5) { nodes { slug proposition belief { state reason asserting denying } } } }"


def demo(settings: Settings, *, host: str, port: int, debug: bool) -> None:
    """Record the example articles in a data folder of their own, and serve them until told to stop."""
    # What is configured is somebody's record, and these articles have no business in it.
    apart = settings.model_copy(
        update={"database_url": None, "owner_url": None, "data_dir": settings.data_dir / "demo"}
    )
    with bound(settings, host, port) as listening, open_database(apart) as engine:
        importing = Import(engine, actor(), refuse=refuse, warn=warn)
        for file in documents.files([str(_seeds())]):
            importing.run(documents.read(file, lambda _: None))
        catch_up(engine, apart)
        # The server goes on from here to the service, without a stop between.
        serve(apart, listening, debug=debug, started=_invite)


def _invite(address: str) -> None:
    console = terminal.out()
    console.print("Five articles of 15 and 16 February 2022 are on record. A first query:")
    console.print()
    console.print(Padding.indent(Text(_QUERY, "bold"), 2))
    console.print()
    console.print("The same, whole, for another terminal:")
    console.print()
    # Not folded where the terminal ends: it is for copying.
    console.print(Text(_curl(address)), soft_wrap=True)
    console.print()


def _curl(address: str) -> str:
    return f"  curl -s {address}/graphql -H 'Content-Type: application/json' \\\n    -d '{{\"query\": \"{_QUERY}\"}}'"


def _seeds() -> Path:
    """In a wheel the seeds stand in the package `service`, in a checkout beside it."""
    service = Path(__file__).resolve().parents[1]
    inside = service / "seeds"
    return inside if inside.is_dir() else service.with_name("seeds")
