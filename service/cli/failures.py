"""What went wrong, as one or two sentences that say what to do."""

from typing import Final

from pydantic import ValidationError

from service.domain.errors import OnrecordError

_ADVICE: Final = "This is a fault of onrecord's own: run it again with --debug added, and report what that prints"


def told(error: Exception) -> tuple[str, int]:
    """The sentences for `error`, and the exit status."""
    import typer
    from sqlalchemy.exc import DBAPIError

    match error:
        case OnrecordError():
            return _sentence(str(error)), 1
        case typer.TyperException():
            return _usage(error) if error.exit_code == 2 else str(error), error.exit_code
        case ValidationError() if error.title == "Settings":
            return _settings(error), 1
        case DBAPIError() if error.orig is not None:
            return _database(error.orig), 1
        case OSError() if error.filename is not None:
            return f"{error.filename}: {error.strerror}.", 1
        case _:
            return f"{_sentence(f'{type(error).__name__}: {error}')} {_ADVICE}.", 1


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _usage(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "onrecord")
    message = getattr(error, "format_message", lambda: str(error))()
    if not message:
        # Called with nothing, it has printed its help already.
        return ""
    return f"{_sentence(message)} `{command} --help` says what it takes."


def _settings(error: ValidationError) -> str:
    """Names the variable and the fault; never the value, which may be a secret."""
    faults = [
        f"ONRECORD_{'_'.join(str(step) for step in fault['loc']).upper()} cannot be used: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return f"{'; '.join(faults)}. `onrecord settings --help` lists what can be set."


def _database(error: BaseException) -> str:
    import psycopg

    from service.database.engine import passing
    from service.domain.errors import Busy, DatabaseExhausted

    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return f"The database refuses: {_sentence(said)} See that `onrecord migrate` has run for this role."
    if (why := passing(error)) in (Busy, DatabaseExhausted):
        return f"{_sentence(str(why()))} The database says: {_sentence(said)}"
    if isinstance(error, psycopg.OperationalError):
        return f"The connection to the database was lost: {_sentence(said)} What was committed stays; try again."
    return f"The database refuses: {_sentence(said)} {_ADVICE}."
