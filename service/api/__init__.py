"""The GraphQL API over the beliefs, their history and the log."""
