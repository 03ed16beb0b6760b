"""The log over HTTP, for who verifies it: checkpoint, tiles and entries, as C2SP tlog-tiles has them."""

import re
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service import tree
from service.domain.merkle import TILE_WIDTH

#: `<L>/<N>[.p/<W>]`, L being a level or `entries`, N in groups of three digits, all but the last with an x.
_PATH: Final = re.compile(
    r"(?P<level>entries|0|[1-9]\d?)/(?P<index>(?:x\d{3}/){0,4}\d{3})(?:\.p/(?P<width>[1-9]\d{0,2}))?", re.ASCII
)
_LEVEL_MAX: Final = 63
#: Every client may ask again at once: it grows.
_MUTABLE: Final = {"Cache-Control": "no-cache"}
#: What a tile of a width holds never changes.
_IMMUTABLE: Final = {"Cache-Control": "public, max-age=31536000, immutable"}


def routes(engine: AsyncEngine) -> list[Route]:
    """`/checkpoint`, `/tile/<L>/<N>[.p/<W>]` and `/tile/entries/<N>[.p/<W>]`, read through `engine`."""

    async def checkpoint(_: Request) -> Response:
        async with engine.connect() as conn:
            newest = await conn.run_sync(tree.newest)
        if newest is None:
            return _absent()
        return PlainTextResponse(newest.note, headers=_MUTABLE)

    async def tile(request: Request) -> Response:
        read = _reader(request.path_params["path"])
        if read is None:
            return _absent()
        async with engine.connect() as conn:
            found = await conn.run_sync(read)
        if found is None:
            return _absent()
        return Response(found, media_type="application/octet-stream", headers=_IMMUTABLE)

    return [Route("/checkpoint", checkpoint), Route("/tile/{path:path}", tile)]


def _reader(path: str) -> Callable[[Connection], bytes | None] | None:
    """What reads the tile or entries of this path; None where it names none."""
    named = _PATH.fullmatch(path)
    if named is None:
        return None
    groups = named["index"].replace("x", "").split("/")
    index, width = int("".join(groups)), int(named["width"] or TILE_WIDTH)
    # Each tile has one name: no group before the others is zero, and a full one has no width.
    if (len(groups) > 1 and groups[0] == "000") or (named["width"] and width >= TILE_WIDTH):
        return None
    if named["level"] == "entries":
        return lambda conn: _bundle(tree.entries(conn, index, width))
    level = int(named["level"])
    return (lambda conn: tree.tile(conn, level, index, width)) if level <= _LEVEL_MAX else None


def _bundle(leaves: list[bytes] | None) -> bytes | None:
    """Entries one after another, each after its length in two bytes."""
    if leaves is None:
        return None
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def _absent() -> Response:
    # It may be there a moment later.
    return PlainTextResponse("There is no such thing in this log, or not yet.\n", 404, headers=_MUTABLE)
