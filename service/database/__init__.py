"""The database: engines, the embedded server, the schema's migrations. Imports nothing on its own."""
