"""`onrecord status`, `settings` and `migrate`: for whoever looks after an installation."""

from importlib import metadata

from pydantic import SecretStr
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, text

from service import log, projector
from service.cli import opening, terminal
from service.config import Settings
from service.database import engine as engines
from service.database import schema
from service.domain.errors import SchemaAhead, SchemaBehind
from service.projector import Generation


def version() -> str:
    """The program's version; of a checkout that was never installed, nobody knows."""
    try:
        return metadata.version("onrecord")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def show_status(settings: Settings) -> int:
    """Print how the database, the log and the projection are. Changes nothing, and migrates nothing.

    Returns the exit status: 1 where the database was made for a newer program.
    """
    rows: list[tuple[str, str]] = [("onrecord", version())]
    warnings: list[str] = []
    newer = False
    with opening.found(settings) as place:
        rows.append(("database", place.where))
        engine = engines.create(place.url, pool_size=1)
        try:
            with engine.connect() as conn:
                rows.append(("PostgreSQL", conn.scalar(text("SHOW server_version")) or ""))
                try:
                    schema.check(conn)
                except (SchemaBehind, SchemaAhead) as error:
                    rows.append(("schema", f"{error.found or 'none yet'}; this program needs {error.wanted}"))
                    newer = isinstance(error, SchemaAhead)
                    if not place.embedded or newer:
                        warnings.append(f"{error}.")
                else:
                    rows.append(("schema", "up to date"))
                    _tell_log(conn, rows, warnings)
        finally:
            engine.dispose()
    table = _table()
    for name, value in rows:
        table.add_row(name, value)
    terminal.show(table)
    for warning in warnings:
        terminal.warn(warning)
    return int(newer)


def show_settings(settings: Settings) -> None:
    """Print every setting with its value, default and meaning; secrets only whether they are set."""
    console = terminal.out()
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        default = field.get_default(call_default_factory=True)
        console.print(
            Text.assemble(
                (f"ONRECORD_{name.upper()}", "key"),
                f" = {_shown(value)}",
                ("" if value == default else f"  (default: {_shown(default)})", "faint"),
            )
        )
        console.print(Text(f"    {field.description}"), style="faint")


def migrate(settings: Settings) -> None:
    """Bring the database up to this program, and say what was done."""
    with opening.found(settings) as place:
        done = opening.migrate(place)
        console = terminal.out()
        if done.before == done.after:
            console.print(f"The schema of {place.where} is up to date, at {done.after}.")
        else:
            console.print(f"The schema of {place.where} went from {done.before or 'nothing'} to {done.after}.")
        with opening.opened(place) as engine, engine.connect() as conn:
            for warning in opening.warnings_of_role(conn):
                terminal.warn(warning)


def _tell_log(conn: Connection, rows: list[tuple[str, str]], warnings: list[str]) -> None:
    head = log.head(conn)
    rows.append(("log", f"{head:,} entries"))
    generations = projector.generations(conn)
    live = next((each for each in generations if each.live), None)
    if live is None:
        rows.append(("projected", "nothing yet; `onrecord serve` or `onrecord project` begins"))
    else:
        behind = head - live.position
        rows.append(("projected", f"{live.position:,}" + (f", {behind:,} behind" if behind else ", all of it")))
        rows.append(("policies", " ".join(live.policies)))
    rows += [("read tables", _generation(each)) for each in generations]
    warnings += [f"The projector stopped: {each.because}." for each in generations if each.because]
    warnings += opening.warnings_of_role(conn)


def _generation(each: Generation) -> str:
    state = "live" if each.live else "being made, or left behind"
    return f"{each.schema_name}, at {each.position:,}, {state}"


def _table() -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="faint", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _shown(value: object) -> str:
    match value:
        case None:
            return "not set"
        case SecretStr():
            return "set, and not shown"
        case _:
            return str(value)
