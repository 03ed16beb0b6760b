"""The Merkle tree over the log: its tiles, who signs it, and what was signed, with their guards."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "onrecord"
GUARDED = ("log_identity", "checkpoint")


def upgrade() -> None:
    op.create_table(
        "tree",
        sa.Column("one", sa.Boolean, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.CheckConstraint("one", name=op.f("tree_one_check")),
        sa.CheckConstraint("size >= 0", name=op.f("tree_size_check")),
        schema=SCHEMA,
    )
    op.execute("INSERT INTO onrecord.tree (one, size) VALUES (true, 0)")
    op.create_table(
        "tile",
        sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.CheckConstraint(
            "octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0",
            name=op.f("tile_hashes_check"),
        ),
        schema=SCHEMA,
    )
    op.create_table(
        "log_identity",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("origin", sa.Text(collation="C"), nullable=False),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("since_size", sa.BigInteger, nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("given_up", sa.Text),
        sa.UniqueConstraint("origin", name="log_identity_origin_key"),
        sa.CheckConstraint("octet_length(public_key) = 32", name=op.f("log_identity_public_key_check")),
        sa.CheckConstraint("number = 1 OR reason IS NOT NULL", name=op.f("log_identity_reason_check")),
        schema=SCHEMA,
    )
    op.create_table(
        "checkpoint",
        sa.Column("origin", sa.Text(collation="C"), primary_key=True),
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("octet_length(root) = 32", name=op.f("checkpoint_root_check")),
        schema=SCHEMA,
    )
    for table in GUARDED:
        for operation in ("update", "delete", "truncate"):
            trigger = f"{table}_refuse_{operation}"
            op.execute(
                f"CREATE TRIGGER {trigger} BEFORE {operation} ON onrecord.{table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION onrecord.refuse_change()"
            )
            op.execute(f"ALTER TABLE onrecord.{table} ENABLE ALWAYS TRIGGER {trigger}")
