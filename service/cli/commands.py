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
_DECIDE: Final = "Decide"
_READ: Final = "Read"
_AUDIT: Final = "Audit"
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
_AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="As it was believed at this position, or at this instant.", show_default=False),
]
_SaidBy = Annotated[
    str | None,
    typer.Option("--said-by", help="Of what is known, only what was said by this day or instant.", show_default=False),
]
_Claim = Annotated[str, typer.Argument(help="The slug of a claim, such as troops-withdrawing.", show_default=False)]
_TokenName = Annotated[str, typer.Argument(help="The token's name, such as desk-7.", show_default=False)]
_Reason = Annotated[str, typer.Option(help="Why, for everybody to read.", show_default=False)]


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

    listening = serving.bound(settings, *_address(settings, host, port))
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
    beliefs: Annotated[
        bool,
        typer.Option("--beliefs", help="With --dry-run: also say which beliefs each document would move, and why."),
    ] = False,
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

    if beliefs and not dry_run:
        raise typer.BadParameter("It belongs to a dry run; add --dry-run.", param_hint="--beliefs")
    if (missing := recording.missing(paths)) is not None:
        raise typer.BadParameter(f"There is no {missing}", param_hint="PATH")
    raise typer.Exit(recording.import_documents(settings, paths, dry_run=dry_run, revise=revise, beliefs=beliefs))


@app.command(rich_help_panel=_RECORD)
def retract(
    url: Annotated[str, typer.Argument(help="The article's URL, as it was recorded.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why, for everybody to read.", show_default=False)],
) -> None:
    """Withdraw an article: from now on its statements no longer count. It stays on record."""
    settings = _settings()
    from service.cli import recording

    recording.retract(settings, url, reason=reason)


# --- decide -----------------------------------------------------------------------


@app.command("merge-claims", rich_help_panel=_DECIDE)
def merge_claims(
    claim: _Claim,
    into: Annotated[str, typer.Option(metavar="CLAIM", help="The claim that survives.", show_default=False)],
    reason: _Reason,
    opposite: Annotated[bool, typer.Option("--opposite", help="The claim is what the survivor negates.")] = False,
) -> None:
    """Let a claim count for another one, or for the opposite of it. `undo-merge` takes it back."""
    settings = _settings()
    from service.cli import curating
    from service.domain.events import ClaimsMerged

    curating.decide(settings, ClaimsMerged, claim=claim, into=into, opposite=opposite or None, reason=reason)


@app.command("merge-speakers", rich_help_panel=_DECIDE)
def merge_speakers(
    speaker: Annotated[str, typer.Argument(help="The id of a speaker, such as kremlin.", show_default=False)],
    into: Annotated[str, typer.Option(metavar="SPEAKER", help="The speaker who survives.", show_default=False)],
    reason: _Reason,
) -> None:
    """Let what one speaker says count as said by another. `undo-merge` takes it back."""
    settings = _settings()
    from service.cli import curating
    from service.domain.events import SpeakersMerged

    curating.decide(settings, SpeakersMerged, speaker=speaker, into=into, reason=reason)


@app.command("undo-merge", rich_help_panel=_DECIDE)
def undo_merge(
    position: Annotated[int, typer.Argument(help="Where the merge was recorded.", min=1, show_default=False)],
    reason: _Reason,
) -> None:
    """Undo a merge: everything counts where its own id says again."""
    settings = _settings()
    from service.cli import curating
    from service.domain.events import MergeUndone

    curating.decide(settings, MergeUndone, position=position, reason=reason)


@app.command(rich_help_panel=_DECIDE)
def relate(
    claim: _Claim,
    relation: Annotated[str, typer.Argument(metavar="refines|contradicts", help="How.", show_default=False)],
    other: Annotated[str, typer.Argument(help="The slug of the claim it bears on.", show_default=False)],
    reason: _Reason,
) -> None:
    """Say how a claim bears on another. It is shown, and nothing is inferred from it."""
    settings = _settings()
    from service.cli import curating
    from service.domain.events import ClaimsRelated

    curating.decide(settings, ClaimsRelated, claim=claim, relation=relation, to=other, reason=reason)


@app.command(rich_help_panel=_DECIDE)
def rule(
    claim: _Claim,
    state: Annotated[str, typer.Argument(metavar="asserted|denied|unverified", help="Its state.", show_default=False)],
    reason: _Reason,
) -> None:
    """Set the state of a claim under every policy, until it is lifted or ruled again."""
    settings = _settings()
    from service.cli import curating
    from service.domain.events import ClaimRuled

    curating.decide(settings, ClaimRuled, claim=claim, state=state, reason=reason)


@app.command(rich_help_panel=_DECIDE)
def lift(claim: _Claim, reason: _Reason) -> None:
    """Lift the ruling on a claim: the policies decide again."""
    settings = _settings()
    from service.cli import curating
    from service.domain.events import RulingLifted

    curating.decide(settings, RulingLifted, claim=claim, reason=reason)


@app.command(rich_help_panel=_DECIDE)
def adopt(
    policy: Annotated[str, typer.Argument(help="The policy, such as corroborated.", show_default=False)],
    reason: _Reason,
) -> None:
    """Choose the policy that is meant where none is named. It moves no belief."""
    settings = _settings()
    from service.cli import curating
    from service.domain.events import PolicyAdopted

    curating.decide(settings, PolicyAdopted, policy=policy, reason=reason)


@app.command("erase-text", rich_help_panel=_DECIDE)
def erase_text(
    sha256: Annotated[str, typer.Argument(help="The SHA-256 of the text, as its article has it.", show_default=False)],
    reason: _Reason,
) -> None:
    """Erase the text of an article for good, whatever brings it again. The article and its quotes stay."""
    settings = _settings()
    from service.cli import curating
    from service.domain.events import TextErased

    curating.decide(settings, TextErased, text_sha256=sha256, reason=reason)


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
    as_of: _AsOf = None,
    said_by: _SaidBy = None,
) -> None:
    """List claims with what is believed of them, the last to change first."""
    settings = _settings()
    from service.cli import claims

    claims.list_claims(
        settings,
        state=_state(state),
        topic=topic,
        under=under,
        search=search,
        limit=limit,
        at=as_of,
        said_by=said_by,
    )


@app.command(rich_help_panel=_READ)
def claim(
    slug: Annotated[str, typer.Argument(help="The claim's slug, such as troops-withdrawing.", show_default=False)],
    under: _Under = None,
    as_of: _AsOf = None,
    said_by: _SaidBy = None,
) -> None:
    """Show one claim: what is believed, who stands where in which words, and how it came about."""
    settings = _settings()
    from service.cli import claims

    claims.show_claim(settings, slug, under=under, at=as_of, said_by=said_by)


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
def evidence(
    slug: Annotated[str, typer.Argument(help="The claim's slug, such as troops-withdrawing.", show_default=False)],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to; a new folder, or an empty one.", show_default=False)
    ],
    as_of: Annotated[
        str | None, typer.Option(help="What was known at this position, or by this time.", show_default=False)
    ] = None,
    said_by: Annotated[
        str | None, typer.Option(help="Of that, only what was said by this day or time.", show_default=False)
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Under this policy; the one in force by default.", show_default=False)
    ] = None,
) -> None:
    """Write what is believed of a claim, because of what, and the proofs, into a folder to hand on."""
    settings = _settings()
    from service.cli import evidencing

    evidencing.write(settings, slug, folder, then=as_of, said_by=said_by, under=policy)


@app.command(rich_help_panel=_READ)
def schema() -> None:
    """Print the GraphQL schema."""
    from service.api.schema import printed

    typer.echo(printed().rstrip())


# --- audit ------------------------------------------------------------------------


@app.command(rich_help_panel=_AUDIT)
def replay(
    under: _Under = None,
    to: Annotated[int | None, typer.Option(help="Only up to this position.", min=0, show_default=False)] = None,
    without_speaker: Annotated[
        list[str] | None,
        typer.Option(help="Leave out all that this speaker says; may be repeated.", show_default=False),
    ] = None,
    without_outlet: Annotated[
        list[str] | None,
        typer.Option(help="Leave out all that articles of this outlet say; may be repeated.", show_default=False),
    ] = None,
    without_rulings: Annotated[bool, typer.Option("--without-rulings", help="Leave out what editors ruled.")] = False,
    against: Annotated[
        str | None,
        typer.Option(help="A policy, or `stored`, to compare with.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Fold the log anew, and show what comes out differently: claim by claim, before and after.

    Without --against it is compared with the same log with nothing left out; or, where
    only the policy is another, with the policy in force; or else with what is stored.
    """
    settings = _settings()
    from service.cli import auditing

    auditing.replay(
        settings,
        under=under,
        to=to,
        speakers=without_speaker or (),
        outlets=without_outlet or (),
        rulings=without_rulings,
        against=against,
        json=json,
    )


@app.command(rich_help_panel=_AUDIT)
def verify(
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="A checkpoint that was kept elsewhere: does the log still begin with what it was signed for? "
            "By default the newest, which the service keeps in the data folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """See that the log is whole, and that everything derived from it is what it says.

    Each mismatch is a line; the exit status is 1 if there is one. No stored hash is trusted.
    """
    settings = _settings()
    from service.cli import auditing

    raise typer.Exit(auditing.verify(settings, checkpoint=checkpoint))


@app.command(rich_help_panel=_AUDIT)
def digest(
    under: _Under = None,
    position: Annotated[int | None, typer.Option(help="As of this position.", min=0, show_default=False)] = None,
    from_log: Annotated[
        bool, typer.Option("--from-log", help="Fold it from the log, not read it from the tables.")
    ] = False,
) -> None:
    """Print one hash over all beliefs, so that two installations can be compared in one line."""
    settings = _settings()
    from service.cli import auditing

    auditing.digest(settings, under=under, position=position, from_log=from_log)


@app.command(rich_help_panel=_AUDIT)
def export(
    file: Annotated[str, typer.Argument(help="Where to, or - for standard output.", show_default=False)],
    first: Annotated[int, typer.Option("--from", help="Only from this position on.", min=1)] = 1,
    to: Annotated[int | None, typer.Option(help="Only up to this position.", min=0, show_default=False)] = None,
    texts: Annotated[
        bool, typer.Option("--texts", help="With the articles' texts; a later erasure does not reach that copy.")
    ] = False,
) -> None:
    """Write the log as JSON lines, to be imported elsewhere."""
    settings = _settings()
    from service.cli import auditing

    auditing.export(settings, file, first=first, to=to, with_texts=texts)


@app.command("import-log", rich_help_panel=_AUDIT)
def import_log(
    file: Annotated[str, typer.Argument(help="An exported log, or - for standard input.", show_default=False)],
) -> None:
    """Record an exported log as it is: in the same places, with the same times, ids and actors.

    Into an empty database, or into one that holds the beginning of the same log.
    All of it or nothing: what was cut off or changed on the way is refused.
    """
    settings = _settings()
    from service.cli import auditing

    auditing.import_log(settings, file)


# --- look after -------------------------------------------------------------------


@app.command(rich_help_panel=_KEEP)
def status() -> None:
    """Show how the database, the log and the beliefs are."""
    current = _settings()
    from service.cli import state

    raise typer.Exit(state.show_status(current))


@app.command(rich_help_panel=_KEEP)
def settings() -> None:
    """Print what can be set, with values, defaults and meanings. Secrets are not shown."""
    current = _settings()
    from service.cli import state

    state.show_settings(current)


@app.command(rich_help_panel=_KEEP)
def rebuild() -> None:
    """Make all read tables anew from the log, and say whether the old ones said the same.

    Queries are answered from the old ones until the new ones are whole, and what is
    recorded meanwhile is in them. Interrupted, nothing has changed.
    """
    current = _settings()
    from service.cli import rebuilding

    rebuilding.rebuild(current)


@app.command(rich_help_panel=_KEEP)
def migrate() -> None:
    """Bring the database up to this version of onrecord; the embedded one does that by itself."""
    current = _settings()
    from service.cli import state

    state.migrate(current)


token: Final = typer.Typer(no_args_is_help=True, help="Say who may do what over the API.")
app.add_typer(token, name="token", rich_help_panel=_KEEP)


@token.command("create")
def create_token(
    name: _TokenName,
    scope: Annotated[
        list[str],
        typer.Option(
            metavar="read|record|curate|admin",
            help="What it may be used for; may be repeated. All let read, and admin lets do everything.",
            show_default=False,
        ),
    ],
    expires: Annotated[
        str, typer.Option(help="How long it is in force (12h, 90d, 8w), or until which day or instant.")
    ] = "90d",
) -> None:
    """Make a token, and print it this once. What is sent with it is recorded as sent by token:NAME.

    Only its hash is kept. Like all of `token`, it works as the role of ONRECORD_OWNER_URL.
    """
    current = _settings()
    from service.cli import tokens

    tokens.create(current, name, named=scope, expires=expires)


@token.command("list")
def list_tokens() -> None:
    """Show every token there ever was, with what it may be used for and until when. Secrets are not kept."""
    current = _settings()
    from service.cli import tokens

    tokens.show(current)


@token.command("revoke")
def revoke_token(name: _TokenName) -> None:
    """Let a token be in force no longer. A running service refuses it within a second, and ends its streams."""
    current = _settings()
    from service.cli import tokens

    tokens.revoke(current, name)


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
