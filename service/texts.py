"""The texts of articles, by the SHA-256 of their UTF-8, beside the log so that they can be erased."""

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import Connection, delete, select

from service.tables import article_text

_KEEP: Final = """
    INSERT INTO onrecord.article_text (sha256, content)
    SELECT * FROM unnest(%(hashes)b::bytea[], %(contents)s::text[])
    ON CONFLICT DO NOTHING
"""


def keep(conn: Connection, texts: Mapping[bytes, str]) -> None:
    """Keep each text under its hash. One that is there already is the same one, so nothing happens to it."""
    if texts:
        conn.exec_driver_sql(_KEEP, {"hashes": list(texts), "contents": list(texts.values())})


def texts_by_hash(conn: Connection, hashes: Collection[bytes]) -> dict[bytes, str]:
    """Those of the texts that are held, by their hash."""
    if not hashes:
        return {}
    found = conn.execute(select(article_text.c.sha256, article_text.c.content).where(article_text.c.sha256.in_(hashes)))
    return {bytes(sha256): content for sha256, content in found}


def erase(conn: Connection, hashes: Collection[bytes]) -> None:
    """Erase the texts with these hashes, as far as they are held."""
    if hashes:
        conn.execute(delete(article_text).where(article_text.c.sha256.in_(hashes)))
