"""What `import --revise` asks of the log: what is an article's newest revision, and what comes after it?"""

from collections.abc import Collection

from sqlalchemy import Connection, func, select

from service import log, tables
from service.domain import article as documents
from service.domain.article import Article, ChangeOf
from service.domain.events import ArticleRecorded, ArticleRevised


def newest(conn: Connection, urls: Collection[str]) -> dict[str, Article]:
    """The newest recorded revision of each of these articles, live or retracted; none if unknown."""
    register = tables.register_revision
    found = conn.execute(
        select(register.c.url, func.max(register.c.position))
        .where(register.c.url.in_(set(urls)))
        .group_by(register.c.url)
    )
    return {url: _article(conn, position) for url, position in found}


def renumbered(article: Article, recorded: Article | None) -> Article:
    """The article as it is now: as the recorded revision if it says the same, else as the one after it."""
    if recorded is None:
        return article
    if documents.same_content(article, recorded):
        # Told in all as it was recorded, so that the log knows it again, and a retraction stays one.
        told = {"revision": recorded.revision, "revised_at": recorded.revised_at, "change": recorded.change}
    else:
        told = {"revision": recorded.revision + 1, "change": article.change or ChangeOf.OUTLET}
    return article.model_copy(update=told)


def _article(conn: Connection, position: int) -> Article:
    (entry,) = log.read(conn, after=position - 1, limit=1)
    event = entry.event()
    assert isinstance(event, ArticleRecorded | ArticleRevised)
    return event.article
