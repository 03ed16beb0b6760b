"""The log, its register, the texts and the generations, with their guards."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "onrecord"
GUARDED = (
    "event",
    "register_revision",
    "register_retraction",
    "register_claim",
    "register_speaker",
    "register_merge",
    "register_undoing",
    "register_ruling",
    "register_relation",
    "register_adoption",
    "register_erasure",
)


def upgrade() -> None:
    op.create_table(
        "event",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("payload_sha256", sa.LargeBinary, nullable=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("event_id", name="event_event_id_key"),
        sa.UniqueConstraint("recorded_at", name="event_recorded_at_key"),
        sa.CheckConstraint("position > 0", name=op.f("event_position_check")),
        sa.CheckConstraint("octet_length(payload_sha256) = 32", name=op.f("event_payload_sha256_check")),
        sa.CheckConstraint("octet_length(leaf) < 1024", name=op.f("event_leaf_check")),
        schema=SCHEMA,
    )
    for table in ("register_revision", "register_retraction"):
        op.create_table(
            table,
            sa.Column("url", sa.Text(collation="C"), primary_key=True),
            sa.Column("revision", sa.Integer, primary_key=True),
            sa.Column("position", sa.BigInteger, nullable=False),
            sa.UniqueConstraint("position", name=f"{table}_position_key"),
            schema=SCHEMA,
        )
    for table, key in (("register_claim", "claim"), ("register_speaker", "speaker")):
        op.create_table(
            table,
            sa.Column(key, sa.Text(collation="C"), primary_key=True),
            sa.Column("position", sa.BigInteger, nullable=False),
            schema=SCHEMA,
        )
    key = sa.Text(collation="C")
    op.create_table(
        "register_merge",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("merged", key, nullable=False),
        sa.Column("survivor", key, nullable=False),
        sa.Column("opposite", sa.Boolean, nullable=False),
        schema=SCHEMA,
    )
    op.create_index("register_merge_merged_idx", "register_merge", ["merged"], schema=SCHEMA)
    op.create_table(
        "register_undoing",
        sa.Column("merge_position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("position", name="register_undoing_position_key"),
        schema=SCHEMA,
    )
    op.create_table(
        "register_ruling",
        sa.Column("claim", key, primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("state", sa.Text),
        schema=SCHEMA,
    )
    op.create_table(
        "register_relation",
        sa.Column("claim", key, primary_key=True),
        sa.Column("relation", sa.Text, primary_key=True),
        sa.Column("to_claim", key, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "register_adoption",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("policy", key, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "register_erasure",
        sa.Column("sha256", sa.LargeBinary, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "article_text",
        sa.Column("sha256", sa.LargeBinary, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.CheckConstraint("octet_length(sha256) = 32", name=op.f("article_text_sha256_check")),
        schema=SCHEMA,
    )
    op.create_table(
        "generation",
        sa.Column("generation", sa.Integer, sa.Identity(always=True), primary_key=True),
        sa.Column("schema_name", sa.Text, nullable=False),
        sa.Column("shape", sa.Text, nullable=False),
        sa.Column("policies", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("rebuild", sa.Boolean, nullable=False),
        sa.Column("stopped_at", sa.BigInteger),
        sa.Column("because", sa.Text),
        sa.UniqueConstraint("schema_name", name="generation_schema_name_key"),
        sa.CheckConstraint("(stopped_at IS NULL) = (because IS NULL)", name=op.f("generation_stopped_check")),
        schema=SCHEMA,
    )
    op.create_index(
        "generation_live_idx", "generation", ["live"], unique=True, postgresql_where=sa.text("live"), schema=SCHEMA
    )

    op.execute("""
        CREATE FUNCTION onrecord.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'onrecord.% only grows: % is refused', TG_TABLE_NAME, TG_OP
                USING ERRCODE = 'restrict_violation',
                      HINT = 'What was recorded stays. Record a revision or a retraction instead.';
        END $$
    """)
    for table in GUARDED:
        for operation in ("update", "delete", "truncate"):
            trigger = f"{table}_refuse_{operation}"
            op.execute(
                f"CREATE TRIGGER {trigger} BEFORE {operation} ON onrecord.{table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION onrecord.refuse_change()"
            )
            op.execute(f"ALTER TABLE onrecord.{table} ENABLE ALWAYS TRIGGER {trigger}")

    # One check for all rows of a statement: they are the next ones, whole, in order of time. The log is asked
    # only for the last row up to a place, which no plan, made for whatever size, reads it through for.
    op.execute("""
        CREATE FUNCTION onrecord.continue_log() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            first bigint;
            last bigint;
            many bigint;
            earliest timestamptz;
            in_order boolean;
            head bigint;
            head_at timestamptz;
        BEGIN
            SELECT min(position), max(position), count(*), min(recorded_at), bool_and(recorded_at > before) IS NOT FALSE
                INTO first, last, many, earliest, in_order
                FROM (
                    SELECT a.position, a.recorded_at, lag(a.recorded_at) OVER (ORDER BY a.position) AS before
                        FROM added a
                ) AS a;
            IF many = 0 THEN
                RETURN NULL;
            END IF;
            SELECT e.position, e.recorded_at INTO head, head_at
                FROM onrecord.event e WHERE e.position < first ORDER BY e.position DESC LIMIT 1;
            IF first <> coalesce(head, 0) + 1 OR last - first + 1 <> many
                OR last <> (SELECT e.position FROM onrecord.event e ORDER BY e.position DESC LIMIT 1)
            THEN
                RAISE EXCEPTION 'the log goes on at position %, without a gap; % to % is refused',
                    coalesce(head, 0) + 1, first, last
                    USING ERRCODE = 'restrict_violation',
                          HINT = 'Only append writes the log.';
            END IF;
            IF NOT in_order OR earliest <= head_at THEN
                RAISE EXCEPTION 'recorded_at must increase with the position'
                    USING ERRCODE = 'restrict_violation',
                          HINT = 'Only append writes the log.';
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER event_continue AFTER INSERT ON onrecord.event
            REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION onrecord.continue_log()
    """)
    op.execute("ALTER TABLE onrecord.event ENABLE ALWAYS TRIGGER event_continue")
