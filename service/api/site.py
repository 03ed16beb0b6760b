"""The explorer over HTTP: the files of `service/web`, each read and compressed once, and nothing from elsewhere."""

import gzip
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_WEB: Final = Path(__file__).resolve().parents[1] / "web"
#: What a browser is to take a file for. One without a suffix is a licence.
_TYPES: Final = {
    "": "text/plain; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: The paths of the screens. Which of them there is something on, the explorer finds out by asking.
_SCREEN: Final = re.compile(r"/|/(claim|speaker)/[^/]+|/article|/compare|/log|/log/[1-9]\d*", re.ASCII)
#: Scripts, styles and answers from this host alone, and none of them written into a page.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it is sent."""

    media_type: str
    plain: bytes
    compressed: bytes
    tag: str  #: weak, as it is the same for both.

    def answer(self, request: Request, *, status: int = 200) -> Response:
        headers = {**_HEADERS, "ETag": self.tag}
        if status == 200 and self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(self.plain, status, headers, self.media_type)
        return Response(self.compressed, status, {**headers, "Content-Encoding": "gzip"}, self.media_type)


@cache
def _file(path: Path) -> _File:
    """A file of the explorer, as it was when it was first read."""
    plain = path.read_bytes()
    return _File(_TYPES[path.suffix], plain, gzip.compress(plain, mtime=0), f'W/"{sha256(plain).hexdigest()[:32]}"')


def routes() -> list[Route]:
    """`/web/<file>`, the screens' paths, and for every other path the explorer's own page that there is nothing.

    They match whatever is asked by GET or HEAD, so they come after all others.
    """
    files = _files()
    page = files["index.html"]

    async def file(request: Request) -> Response:
        found = files.get(request.path_params["path"])
        return page.answer(request, status=404) if found is None else found.answer(request)

    async def screen(request: Request) -> Response:
        return page.answer(request, status=200 if _SCREEN.fullmatch(request.url.path) else 404)

    return [Route("/web/{path:path}", file), Route("/{path:path}", screen)]


def is_page(path: str) -> bool:
    """Whether there is a screen or a file of the explorer at this path, or may be: nothing of the record is."""
    return path.startswith("/web/") or _SCREEN.fullmatch(path) is not None


def graphiql() -> Callable[[Request], Response]:
    """The page that `/graphql` is to a browser: GraphiQL, from this host alone like everything else."""
    page = _file(_WEB / "graphiql.html")

    def answer(request: Request) -> Response:
        response = page.answer(request)
        response.headers["Vary"] = "Accept, Accept-Encoding"
        return response

    return answer


def _files() -> Mapping[str, _File]:
    """Every file of `service/web` by its path in there."""
    return {path.relative_to(_WEB).as_posix(): _file(path) for path in _WEB.rglob("*") if path.is_file()}
