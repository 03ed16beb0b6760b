"""The commands and what they take. What they do is imported when they do it, so that `--help` is quick."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from service.config import Settings
    from service.domain.policies import State

app: Final = typer.Typer(
    name="onrecord",
    help="Onrecord keeps the public record of who said what.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_RUN: Final = "Run"
_RECORD: Final = "Record"
_READ: Final = "Read"
_KEEP: Final = "Look after"

_Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)]
_Port = Annotated[
    int | None,
    typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535, show_default=False),
]
_Under = Annotated[
    str | None,
    typer.Option("--policy", help="The policy to decide by, such as majority.", show_default=False),
]


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from; may stand anywhere.")] = False,
) -> None:
    """Onrecord keeps the public record of who said what."""
    context.obj = debug
    if version:
        from service.cli.state import version as installed

        typer.echo(f"onrecord {installed()}")
        raise typer.Exit


# --- run --------------------------------------------------------------------------


@app.command(rich_help_panel=_RUN)
def serve(context: typer.Context, host: _Host = None, port: _Port = None) -> None:
    """Answer GraphQL queries, and keep the beliefs up to date, until stopped.

    Without ONRECORD_DATABASE_URL it starts a PostgreSQL of its own in the data folder.
    """
    settings = _settings()
    from service.cli import serving

    listening = serving.bound(*_address(settings, host, port))
    serving.serve(settings, listening, debug=context.obj)


@app.command(rich_help_panel=_RUN)
def project(
    once: Annotated[bool, typer.Option("--once", help="End as soon as the beliefs are up to date.")] = False,
) -> None:
    """Keep the beliefs up to date, as a process of its own. `serve` does it too; both at once do no harm."""
    settings = _settings()
    from service.cli import serving

    serving.project(settings, once=once)


@app.command(rich_help_panel=_RUN)
def demo(context: typer.Context, host: _Host = None, port: _Port = None) -> None:
    """Serve five example articles, from a data folder apart from everything else."""
    settings = _settings()
    from service.cli import demo

    at, number = _address(settings, host, port)
    demo.demo(settings, host=at, port=number, debug=context.obj)


# --- record -----------------------------------------------------------------------


@app.command("import", rich_help_panel=_RECORD)
def import_(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="JSON or JSONL files, folders of them, or - for standard input.",
            show_default=False,
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    revise: Annotated[bool, typer.Option("--revise", help="Record changed articles as their next revision.")] = False,
) -> None:
    """Record article documents.

    Each is recorded or refused by itself: refused ones are named on standard error,
    and the exit status is 1 if there was one. To import the same again does no harm.

    With --revise, a document without `revision` is the article as it is now: what
    differs from the newest revision on record becomes the next one.

    A dry run tries 100 documents at a time and takes them back, so it does not see
    what a document builds on if that is further ahead in the same import.
    """
    settings = _settings()
    from service.cli import recording

    if (missing := recording.missing(paths)) is not None:
        raise typer.BadParameter(f"There is no {missing}", param_hint="PATH")
    raise typer.Exit(recording.import_documents(settings, paths, dry_run=dry_run, revise=revise))


@app.command(rich_help_panel=_RECORD)
def retract(
    url: Annotated[str, typer.Argument(help="The article's URL, as it was recorded.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why, for everybody to read.", show_default=False)],
) -> None:
    """Withdraw an article: from now on its statements no longer count. It stays on record."""
    settings = _settings()
    from service.cli import recording

    recording.retract(settings, url, reason=reason)


# --- read -------------------------------------------------------------------------


@app.command(rich_help_panel=_READ)
def claims(
    state: Annotated[
        str | None, typer.Option(help="Only those asserted, denied or unverified.", show_default=False)
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Only those on this topic.", show_default=False)] = None,
    under: _Under = None,
    search: Annotated[
        str | None,
        typer.Option(help="Only those with these words, in proposition or quotes.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many to show.", min=1, max=10_000)] = 25,
) -> None:
    """List claims with what is believed of them, the last to change first."""
    settings = _settings()
    from service.cli import claims

    claims.list_claims(settings, state=_state(state), topic=topic, under=under, search=search, limit=limit)


@app.command(rich_help_panel=_READ)
def claim(
    slug: Annotated[str, typer.Argument(help="The claim's slug, such as troops-withdrawing.", show_default=False)],
    under: _Under = None,
) -> None:
    """Show one claim: what is believed, who stands where in which words, and how it came about."""
    settings = _settings()
    from service.cli import claims

    claims.show_claim(settings, slug, under=under)


@app.command(rich_help_panel=_READ)
def log(
    after: Annotated[int, typer.Option(help="Only entries after this position.", min=0)] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is to come.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print the log, entry by entry."""
    settings = _settings()
    from service.cli import entries

    entries.show_log(settings, after=after, follow=follow, json=json)


@app.command(rich_help_panel=_READ)
def prove(
    positions: Annotated[
        list[int], typer.Argument(metavar="POSITION...", help="Entries of the log.", min=1, show_default=False)
    ],
    since: Annotated[
        list[Path] | None,
        typer.Option(
            help="An older checkpoint, in a file: prove also that the log still begins as it says. May be repeated.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    tlog_proof: Annotated[
        bool, typer.Option("--tlog-proof", help="In the form of C2SP tlog-proof, for a single entry.")
    ] = False,
) -> None:
    """Print what it takes to see offline that entries are in the log.

    `python -m service.proof verify --key VKEY FILE` verifies it, without a database.
    """
    settings = _settings()
    from service.cli import proving

    if tlog_proof and (len(positions) > 1 or since):
        raise typer.BadParameter("It holds a single entry, and no older checkpoint.", param_hint="--tlog-proof")
    proving.prove(settings, positions, since=since or [], tlog_proof=tlog_proof)


@app.command(rich_help_panel=_READ)
def schema() -> None:
    """Print the GraphQL schema."""
    from service.api.schema import printed

    typer.echo(printed().rstrip())


# --- look after -------------------------------------------------------------------


@app.command(rich_help_panel=_KEEP)
def status() -> None:
    """Show how the database, the log and the beliefs are."""
    current = _settings()
    from service.cli import state

    state.show_status(current)


@app.command(rich_help_panel=_KEEP)
def settings() -> None:
    """Print what can be set, with values, defaults and meanings. Secrets are not shown."""
    current = _settings()
    from service.cli import state

    state.show_settings(current)


@app.command(rich_help_panel=_KEEP)
def migrate() -> None:
    """Bring the database up to this version of onrecord; the embedded one does that by itself."""
    current = _settings()
    from service.cli import state

    state.migrate(current)


@app.command(rich_help_panel=_KEEP)
def checkpoint(
    key: Annotated[bool, typer.Option("--key", help="Print the key to verify it with instead.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make the stored tree anew from the log first, if it is damaged.")
    ] = False,
    accept_loss: Annotated[
        bool,
        typer.Option("--accept-loss", help="Go on with a log that is no longer what was signed, under a new origin."),
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why a loss is accepted; it stays on record.", show_default=False)
    ] = None,
) -> None:
    """Sign the log as it is now, and print the checkpoint. `serve` signs by itself, about once a second."""
    current = _settings()
    from service.cli import proving

    if accept_loss != bool(reason and reason.strip()):
        raise typer.BadParameter("Give both or none of them.", param_hint="--accept-loss, --reason")
    if accept_loss and reason:
        proving.accept_loss(current, reason=reason)
    elif rebuild:
        proving.rebuild(current)
    else:
        proving.checkpoint(current, key=key)


def _settings() -> "Settings":
    from service import config
    from service.cli import terminal

    for name, meant in config.mistaken():
        terminal.warn(f"There is no setting {name}; did you mean {meant}?")
    return config.Settings()


def _address(settings: "Settings", host: str | None, port: int | None) -> tuple[str, int]:
    return host or settings.host, settings.port if port is None else port


def _state(name: str | None) -> "State | None":
    if name is None:
        return None
    from service.domain.policies import State

    try:
        return State(name.lower())
    except ValueError:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(State)}", param_hint="--state") from None
