"""What Alembic runs: the migrations, in the transaction of `service.database.schema.migrate`."""

from alembic import context

from service.database.schema import SCHEMA, VERSION_TABLE

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA,
)
with context.begin_transaction():
    context.run_migrations()
