"""The explorer as a browser is given it: its pages and files, what they may load, and how much that is."""

import asyncio
import gzip
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from graphql import build_schema, parse, validate
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette

from service.api import site
from service.api.access import Access
from service.api.app import create
from service.domain.scopes import Scope
from tests.web import WEB, run

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path.relative_to(WEB).as_posix() for path in WEB.rglob("*") if path.is_file())
SCREENS = ("/", "/claim/troops-withdrawing", "/article", "/speaker/outlet:itv-news", "/compare", "/log", "/log/12")
#: Of the files, those that a browser loads; the others are for people.
LOADED = {".css", ".html", ".js", ".mjs", ".svg"}
#: What the first view may weigh, compressed.
FIRST_VIEW_BYTES_MAX = 60_000
#: A database that nobody asks anything.
NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"


def get(path: str, method: str = "GET", app: Starlette | None = None, **headers: str) -> httpx.Response:
    """The explorer's answer; headers by their names, `_` for the hyphen."""
    sent = {"accept-encoding": "identity", **{name.replace("_", "-"): value for name, value in headers.items()}}

    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app or Starlette(routes=site.routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://explorer") as client:
            return await client.request(method, path, headers=sent)

    return asyncio.run(answer())


class Page(HTMLParser):
    """What a page loads, and what it says itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.preloads: list[str] = []
        self.own: list[str] = []
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._within = tag
        self.own += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "script":
            self.loads.append(given.get("src") or "")
        elif tag == "link":
            self.loads.append(given.get("href") or "")
            if given.get("rel") == "modulepreload":
                self.preloads.append(given.get("href") or "")

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style"):
            self.own += [data] if data.strip() else []


PAGE = Page((WEB / "index.html").read_text())


def imports(file: str) -> Iterator[str]:
    """The files that a module imports as soon as it is loaded, by their paths in `service/web`."""
    for name in re.findall(r"""\bfrom\s*['"](\.[^'"]+)['"]""", (WEB / file).read_text()):
        yield (WEB / file).parent.joinpath(name).resolve().relative_to(WEB).as_posix()


def loaded(*entries: str) -> set[str]:
    """The modules that these bring with them, and they themselves."""
    found: set[str] = set()
    waiting = list(entries)
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += imports(file)
    return found


@pytest.mark.parametrize("path", SCREENS)
def test_the_path_of_each_screen_gives_the_page(path: str) -> None:
    answer = get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.content == (WEB / "index.html").read_bytes()
    head = get(path, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == answer.headers


@pytest.mark.parametrize("path", ["/nothing", "/claim", "/claim/a/b", "/log/0", "/log/x", "/web/nothing.js", "/web/"])
def test_where_there_is_nothing_the_explorer_says_so_itself(path: str) -> None:
    answer = get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert answer.content == (WEB / "index.html").read_bytes()


def test_no_path_leads_out_of_the_folder() -> None:
    for path in ("/web/../api/site.py", "/web/%2e%2e/api/site.py", "/web//etc/passwd", "/web/vendor"):
        assert get(path).status_code == 404


def test_what_others_answer_stays_theirs() -> None:
    """The log's tiles and GraphQL know better what there is below their paths."""
    engine = create_async_engine(NOWHERE)
    access = Access(engine, without_token=frozenset({Scope.READ}))
    app = create(engine=engine, reading=create_engine(NOWHERE), access=access)
    assert get("/", app=app).status_code == 200
    assert get("/tile/0/x", app=app).headers["content-type"].startswith("text/plain")
    assert "script-src" not in get("/graphql", app=app).headers["content-security-policy"]
    assert get("/nothing", "POST", app=app).status_code == 405


@pytest.mark.parametrize("file", FILES)
def test_each_file_is_served_as_what_it_is(file: str) -> None:
    answer = get(f"/web/{file}")
    assert (answer.status_code, answer.content) == (200, (WEB / file).read_bytes())
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/nothing", "/web/app.js"])
def test_nothing_runs_but_what_this_host_serves(path: str) -> None:
    headers = get(path).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert headers["referrer-policy"] == "no-referrer"


def test_the_page_holds_no_script_and_no_style_of_its_own() -> None:
    assert PAGE.own == []
    assert all(path.startswith("/web/") for path in PAGE.loads)


@pytest.mark.parametrize(
    # What GraphiQL and React name stands in messages; their page may not ask other hosts either.
    "file",
    [file for file in FILES if Path(file).suffix in LOADED and not file.startswith("vendor/graphiql/")],
)
def test_no_file_names_another_host(file: str) -> None:
    named = re.findall(r"""https?://[\w.-]+|["'`(]//[\w.-]+""", (WEB / file).read_text(), re.IGNORECASE)
    # The names of languages only look like addresses.
    assert {name for name in named if name != "http://www.w3.org"} == set()


@pytest.mark.parametrize("file", ["app.js", "style.css", "vendor/preact.mjs"])
def test_a_file_is_sent_compressed_where_that_is_understood(file: str) -> None:
    answer = get(f"/web/{file}", accept_encoding="gzip, br")
    assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert answer.content == (WEB / file).read_bytes()
    assert int(answer.headers["content-length"]) < len(answer.content)
    assert "content-encoding" not in get(f"/web/{file}").headers


def test_what_a_browser_has_is_not_sent_again() -> None:
    tag = get("/web/app.js").headers["etag"]
    again = get("/web/app.js", if_none_match=tag, accept_encoding="gzip")
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert get("/web/app.js", if_none_match='"another"').status_code == 200
    assert get("/web/html.js").headers["etag"] != tag
    # Else a page that is not there would seem to be.
    assert get("/nothing", if_none_match=get("/").headers["etag"]).status_code == 404


def test_the_first_view_is_small() -> None:
    modules = loaded("app.js", "claims.js")
    others = {path.removeprefix("/web/") for path in PAGE.loads} - modules
    sizes = {file: len(gzip.compress((WEB / file).read_bytes())) for file in {"index.html", *modules, *others}}
    assert sum(sizes.values()) < FIRST_VIEW_BYTES_MAX, sizes


def test_the_modules_of_every_view_are_asked_for_at_once() -> None:
    """Else each would be found only in the one that imports it, a round trip later."""
    assert {path.removeprefix("/web/") for path in PAGE.preloads} == loaded("app.js") - {"app.js"}


def test_what_others_wrote_comes_with_its_licence() -> None:
    read_me = (WEB / "vendor/README.md").read_text()
    for file in (WEB / "vendor").rglob("*.mjs"):
        row = next(line for line in read_me.splitlines() if line.startswith(f"| `{file.name}` |"))
        (licence,) = re.findall(r"`(LICENSE-\w+)`", row)
        assert "copyright" in (WEB / "vendor" / licence).read_text().lower()


@pytest.mark.parametrize("file", [file for file in FILES if "export const query" in (WEB / file).read_text()])
def test_each_screen_asks_one_question_that_the_schema_knows(file: str) -> None:
    asked = run(file, "return module.query;")
    assert validate(build_schema((ROOT / "schema.graphql").read_text()), parse(asked)) == []


def test_the_wheel_holds_every_file(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert {f"service/web/{file}" for file in FILES} <= set(zipfile.ZipFile(wheel).namelist())
