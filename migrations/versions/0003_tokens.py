"""The tokens, by their hashes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "onrecord"


def upgrade() -> None:
    op.create_table(
        "token",
        sa.Column("sha256", sa.LargeBinary, primary_key=True),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("octet_length(sha256) = 32", name=op.f("token_sha256_check")),
        sa.CheckConstraint("cardinality(scopes) > 0", name=op.f("token_scopes_check")),
        sa.CheckConstraint("expires_at > created_at", name=op.f("token_expires_at_check")),
        schema=SCHEMA,
    )
