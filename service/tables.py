"""Every table, in one place.

Two sides. The log's side lives in the schema `onrecord` and is changed by
migrations alone: the log, its register, the texts, and the list of generations.
The read side is made anew for each generation, in a schema of its own that the
search path names: everything in it is derived from the log.

`until_position` closes the span in which a row holds, [its position, until):
`OPEN` while it still does. So the past can be read as it was.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REGCONFIG

SCHEMA: Final = "onrecord"

#: Ids, slugs and URLs are compared and sorted by their bytes, whatever the database's locale.
Key: Final = Text(collation="C")

#: The `until_position` of what still holds: greater than every position.
OPEN: Final = 2**63 - 1

_NAMES = {
    "pk": "%(table_name)s_pkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
}

# --- the log's side ---------------------------------------------------------------

log_metadata = MetaData(schema=SCHEMA, naming_convention=_NAMES)

#: The log. Rows come at the end, in turn, and never change: the database itself
#: refuses everything else (see the triggers in the first migration).
event = Table(
    "event",
    log_metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("type", Text, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, unique=True),
    Column("actor", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("payload_sha256", LargeBinary, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    CheckConstraint("position > 0", name="position"),
    CheckConstraint("octet_length(payload_sha256) = 32", name="payload_sha256"),
    CheckConstraint("octet_length(leaf) < 1024", name="leaf"),
    info={"service_may": "SELECT, INSERT"},
)

#: The register: what `append` checks against. Written by it alone, derived from the log alone.
register_revision = Table(
    "register_revision",
    log_metadata,
    Column("url", Key, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("position", BigInteger, nullable=False, unique=True),
    info={"service_may": "SELECT, INSERT"},
)
register_retraction = Table(
    "register_retraction",
    log_metadata,
    Column("url", Key, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("position", BigInteger, nullable=False, unique=True),
    info={"service_may": "SELECT, INSERT"},
)
register_claim = Table(
    "register_claim",
    log_metadata,
    Column("claim", Key, primary_key=True),
    Column("position", BigInteger, nullable=False),
    info={"service_may": "SELECT, INSERT"},
)
register_speaker = Table(
    "register_speaker",
    log_metadata,
    Column("speaker", Key, primary_key=True),
    Column("position", BigInteger, nullable=False),
    info={"service_may": "SELECT, INSERT"},
)

register_merge = Table(
    "register_merge",
    log_metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("merged", Key, nullable=False, index=True),
    Column("survivor", Key, nullable=False),
    Column("opposite", Boolean, nullable=False),
    info={"service_may": "SELECT, INSERT"},
)
register_undoing = Table(
    "register_undoing",
    log_metadata,
    Column("merge_position", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False, unique=True),
    info={"service_may": "SELECT, INSERT"},
)
#: A state of null lifts the ruling before it.
register_ruling = Table(
    "register_ruling",
    log_metadata,
    Column("claim", Key, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("state", Text),
    info={"service_may": "SELECT, INSERT"},
)
register_relation = Table(
    "register_relation",
    log_metadata,
    Column("claim", Key, primary_key=True),
    Column("relation", Text, primary_key=True),
    Column("to_claim", Key, primary_key=True),
    Column("position", BigInteger, nullable=False),
    info={"service_may": "SELECT, INSERT"},
)
register_adoption = Table(
    "register_adoption",
    log_metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("policy", Key, nullable=False),
    info={"service_may": "SELECT, INSERT"},
)
register_erasure = Table(
    "register_erasure",
    log_metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("position", BigInteger, nullable=False),
    info={"service_may": "SELECT, INSERT"},
)

REGISTER: Final = (
    register_revision,
    register_retraction,
    register_claim,
    register_speaker,
    register_merge,
    register_undoing,
    register_ruling,
    register_relation,
    register_adoption,
    register_erasure,
)

#: What the database must refuse to change or to thin out.
GUARDED: Final = (event, *REGISTER)

#: The texts of articles, by their hash, beside the log so that they can be erased.
article_text = Table(
    "article_text",
    log_metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("content", Text, nullable=False),
    CheckConstraint("octet_length(sha256) = 32", name="sha256"),
    info={"service_may": "SELECT, INSERT, DELETE"},
)

#: The generations of read tables. `position` is the projector's cursor: the row is its ownership.
generation = Table(
    "generation",
    log_metadata,
    Column("generation", Integer, Identity(always=True), primary_key=True),
    Column("schema_name", Text, nullable=False, unique=True),
    Column("shape", Text, nullable=False),  # a fingerprint of the read tables below
    Column("policies", ARRAY(Text), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("live", Boolean, nullable=False),
    Column("rebuild", Boolean, nullable=False),  # being filled by a rebuild, which alone projects into it
    Column("stopped_at", BigInteger),  # the event that cannot be projected
    Column("because", Text),
    CheckConstraint("(stopped_at IS NULL) = (because IS NULL)", name="stopped"),
    Index(None, "live", unique=True, postgresql_where=text("live")),
    info={"service_may": "SELECT, INSERT, UPDATE, DELETE"},
)

# --- the tree ---------------------------------------------------------------------

#: How far the tree has got with the log. One row: it is the right to make the tree grow.
tree = Table(
    "tree",
    log_metadata,
    Column("one", Boolean, primary_key=True),
    Column("size", BigInteger, nullable=False),
    CheckConstraint("one", name="one"),
    CheckConstraint("size >= 0", name="size"),
    info={"service_may": "SELECT, UPDATE"},
)

#: The tree's hashes, 256 in a tile, fewer in those that are not full yet. Derived from the log alone.
tile = Table(
    "tile",
    log_metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
    CheckConstraint("octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0", name="hashes"),
    info={"service_may": "SELECT, INSERT, UPDATE, DELETE"},
)

#: As whom the log signs: the last row holds. Another begins where a loss was accepted, so that it stays visible.
log_identity = Table(
    "log_identity",
    log_metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("origin", Key, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("since_size", BigInteger, nullable=False),
    Column("begun_at", DateTime(timezone=True), nullable=False),
    Column("reason", Text),  # why the one before was given up
    Column("given_up", Text),  # the checkpoint that the log could no longer answer for
    CheckConstraint("octet_length(public_key) = 32", name="public_key"),
    CheckConstraint("number = 1 OR reason IS NOT NULL", name="reason"),
    info={"service_may": "SELECT, INSERT"},
)

#: Everything that was ever signed.
checkpoint = Table(
    "checkpoint",
    log_metadata,
    Column("origin", Key, primary_key=True),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("signed_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("octet_length(root) = 32", name="root"),
    info={"service_may": "SELECT, INSERT"},
)

#: What was signed stays too.
GUARDED_TREE: Final = (log_identity, checkpoint)

# --- the tokens -------------------------------------------------------------------

#: Who may do what. A row stays when its token is revoked, since what was sent with it names it.
token = Table(
    "token",
    log_metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("name", Key, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    CheckConstraint("octet_length(sha256) = 32", name="sha256"),
    CheckConstraint("cardinality(scopes) > 0", name="scopes"),
    CheckConstraint("expires_at > created_at", name="expires_at"),
    info={"service_may": "SELECT"},
)

# --- the read side ----------------------------------------------------------------

read_metadata = MetaData(naming_convention=_NAMES)

outlet = Table(
    "outlet",
    read_metadata,
    Column("outlet", Key, primary_key=True),
    Column("first_position", BigInteger, nullable=False),
)

speaker = Table(
    "speaker",
    read_metadata,
    Column("speaker", Key, primary_key=True),
    Column("first_position", BigInteger, nullable=False),
    Index("speaker_newest_idx", text("first_position DESC"), "speaker"),
)

topic = Table(
    "topic",
    read_metadata,
    Column("topic", Key, primary_key=True),
    Column("first_position", BigInteger, nullable=False),
    Index("topic_newest_idx", text("first_position DESC"), "topic"),
)

#: The text-search dictionaries that wordings and statements were written for.
dictionary = Table(
    "dictionary",
    read_metadata,
    Column("dictionary", REGCONFIG, primary_key=True),
)

#: One row a revision.
article = Table(
    "article",
    read_metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("url", Key, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("outlet", Key, nullable=False),
    Column("outlet_name", Text, nullable=False),
    Column("headline", Text),
    Column("published_at", Text, nullable=False),
    Column("published_end", DateTime(timezone=True), nullable=False),
    Column("language", Text),
    Column("revised_at", Text),
    Column("change", Text),
    Column("read_by_kind", Text),
    Column("read_by_id", Text),
    Column("read_by_version", Text),
    Column("text_sha256", Text),
    Column("quotes_verified", Boolean, nullable=False),
    Column("until_position", BigInteger, nullable=False),
    UniqueConstraint("url", "revision"),
    Index(None, "outlet", "published_end", "first_position"),
)

retraction = Table(
    "retraction",
    read_metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("url", Key, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("url", "revision"),
)

claim = Table(
    "claim",
    read_metadata,
    Column("claim", Key, primary_key=True),
    Column("first_position", BigInteger, nullable=False),
    Column("topic", Key),
    Column("topic_position", BigInteger),  # where the topic was first given
    Index(None, "topic", "claim"),
)

#: How a claim is put into words: the first row is its proposition, later ones differ from it.
wording = Table(
    "wording",
    read_metadata,
    Column("claim", Key, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("proposition", Text, nullable=False),
    Column("language", Text),
    Column("dictionary", REGCONFIG, nullable=False),
)
Index(
    "wording_words_idx",
    func.to_tsvector(wording.c.dictionary, wording.c.proposition),
    postgresql_using="gin",
)

statement = Table(
    "statement",
    read_metadata,
    Column("claim", Key, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("ordinal", SmallInteger, primary_key=True, autoincrement=False),
    Column("speaker", Key, nullable=False),
    Column("speaker_name", Text, nullable=False),
    Column("role", Text),
    Column("organisation", Text),
    Column("bloc", Text),
    Column("own_voice", Boolean, nullable=False),
    Column("outlet", Key, nullable=False),
    Column("stance", Text, nullable=False),
    Column("certainty", Text),
    Column("form", Text),
    Column("said_at", Text),
    Column("effective_at", DateTime(timezone=True), nullable=False),
    Column("published_end", DateTime(timezone=True), nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("quote", Text, nullable=False),
    Column("start", Integer),
    Column("quote_verified", Boolean, nullable=False),
    Column("dictionary", REGCONFIG, nullable=False),
    Column("until_position", BigInteger, nullable=False),
    Index(None, "position", "ordinal"),
    # Of one claim the outlets are looked through in the index, as each index here costs every statement.
    Index(None, "claim", "speaker", "outlet"),
    Index(None, "speaker", "position", "ordinal"),
)
Index(
    "statement_words_idx",
    func.to_tsvector(statement.c.dictionary, statement.c.quote),
    postgresql_using="gin",
)

#: Which statement of a speaker on a claim counts, from `since_position` on.
standing = Table(
    "standing",
    read_metadata,
    Column("claim", Key, primary_key=True),
    Column("speaker", Key, primary_key=True),
    Column("since_position", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("ordinal", SmallInteger, nullable=False),
    Column("stance", Text, nullable=False),
    Column("bloc", Text),
    Column("effective_at", DateTime(timezone=True), nullable=False),
    Column("published_end", DateTime(timezone=True), nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("until_position", BigInteger, nullable=False),
    Index(None, "claim", "until_position"),
    Index(None, "speaker", "effective_at", "published_end", "first_position", "ordinal"),
)

#: How many speakers stand where, from `position` on; the same under every policy.
tally = Table(
    "tally",
    read_metadata,
    Column("claim", Key, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("asserting", Integer, nullable=False),
    Column("denying", Integer, nullable=False),
    Column("withholding", Integer, nullable=False),
    Column("until_position", BigInteger, nullable=False),
)

#: Of a claim on which more stand, they are summed.
SUMMED_ABOVE: Final = 25

#: How many speakers stand where, and who spoke last, where so many stand that a projector does not load them all.
standing_sums = Table(
    "standing_sums",
    read_metadata,
    Column("claim", Key, primary_key=True),
    Column("asserting", Integer, nullable=False),
    Column("denying", Integer, nullable=False),
    Column("withholding", Integer, nullable=False),
    Column("asserting_blocs", JSONB, nullable=False),
    Column("denying_blocs", JSONB, nullable=False),
    Column("latest", Key),
    Column("last_effective_at", DateTime(timezone=True), nullable=False),
)

#: The verdict on a claim under a policy, from `position` on, and the one before.
#: None before where the claim begins, none after where it is merged away.
transition = Table(
    "transition",
    read_metadata,
    Column("policy", Key, primary_key=True),
    Column("claim", Key, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("from_state", Text),
    Column("from_reason", Text),
    Column("to_state", Text),
    Column("to_reason", Text),
    Column("effective_at", DateTime(timezone=True)),
    Column("retroactive", Boolean, nullable=False),
    Column("until_position", BigInteger, nullable=False),
    Index(
        "transition_newest_idx",
        "policy",
        text("position DESC"),
        "claim",
        postgresql_include=["until_position", "to_state"],
    ),
    Index(
        "transition_state_newest_idx",
        "policy",
        "to_state",
        text("position DESC"),
        "claim",
        postgresql_include=["until_position"],
    ),
)

#: At every so many positions the claims are counted.
CENSUS_EVERY: Final = 16

#: How many claims have a state under a policy, at those of these positions where they are not as many as before.
census = Table(
    "census",
    read_metadata,
    Column("policy", Key, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("claims", BigInteger, nullable=False),
)

merge = Table(
    "merge",
    read_metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("merged", Key, nullable=False),
    Column("survivor", Key, nullable=False),
    Column("opposite", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("until_position", BigInteger, nullable=False),
)

ruling = Table(
    "ruling",
    read_metadata,
    Column("claim", Key, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("until_position", BigInteger, nullable=False),
)

relation = Table(
    "relation",
    read_metadata,
    Column("claim", Key, primary_key=True),
    Column("relation", Text, primary_key=True),
    Column("to_claim", Key, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "to_claim"),
)

#: Which policy is meant where none is named, from `position` on.
adoption = Table(
    "adoption",
    read_metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("policy", Key, nullable=False),
    Column("reason", Text, nullable=False),
)


def recordset(table: Table, parameter: str, columns: Sequence[str] | None = None) -> str:
    """Rows of a table, or some of its columns, as SQL takes them from a parameter that holds a JSON array, as `r`."""
    dialect = postgresql.dialect()
    names = table.columns.keys() if columns is None else columns
    typed = ", ".join(f'"{name}" {table.c[name].type.compile(dialect=dialect)}' for name in names)
    return f"json_to_recordset({parameter}::json) AS r({typed})"
