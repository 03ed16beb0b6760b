"""README and docs: what they say can be run does run, what they name is there, what they list is whole."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from sqlalchemy import URL
from typer.core import TyperGroup

from service import tables
from service.api.schema import code_of
from service.cli import main
from service.cli.commands import app
from service.config import Settings
from service.database import engine as engines
from service.domain import errors
from service.domain.errors import OnrecordError
from tests.conftest import Database

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
DECISIONS = sorted((DOCS / "decisions").iterdir())

on_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, *languages: str) -> list[str]:
    """What stands between fences of these languages, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [block for language, block in found if language in languages]


def code(page: Path) -> str:
    """All that the page shows as code, inline or for a shell."""
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL))
    return "\n".join([*inline, *blocks(page, "sh")])


def section(page: Path, title: str) -> str:
    """What stands under a heading, up to the next of its level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def first_column(text: str) -> list[str]:
    """The code in the first column of the text's tables."""
    rows = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


# --- what they name is there ------------------------------------------------------


@on_each_page
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


@on_each_page
def test_paths_in_the_repository_are_there(page: Path):
    for path in re.findall(r"`((?:service|tests|migrations|seeds|docs)/[\w./-]*)`", page.read_text()):
        assert (ROOT / path).exists(), path


@on_each_page
def test_names_stand_where_the_page_says(page: Path):
    for name, path in re.findall(r"`(\w+)` in `([\w/]+\.py)`", page.read_text()):
        file = ROOT / path if path.startswith("service/") else ROOT / "service" / path
        assert re.search(rf"\b{name}\b", file.read_text()), f"{name} in {path}"


@on_each_page
def test_commands_and_targets_exist(page: Path):
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command, rest in re.findall(r"\bonrecord ([a-z][\w-]*)(.*)", code(page)):
        assert command in group.commands
        named = group.commands[command]
        if isinstance(named, TyperGroup) and (within := re.match(r" ([a-z][\w-]*)", rest)):
            assert within[1] in named.commands, f"{command} {within[1]}"
            named = named.commands[within[1]]
        options = {option for each in named.params for option in each.opts}
        for option in re.findall(r"--[\w-]+", rest):
            assert option in options, f"{command} {option}"
    for target in re.findall(r"^make (\w+)", code(page), re.MULTILINE):
        assert target in targets


@on_each_page
def test_settings_exist(page: Path):
    known = {f"ONRECORD_{name.upper()}" for name in Settings.model_fields}
    for reader in ("tests/conftest.py", "tests/browser/chromium.py"):
        known |= set(re.findall(r"ONRECORD_TEST_\w+", (ROOT / reader).read_text()))
    assert set(re.findall(r"ONRECORD_\w+", page.read_text())) <= known


# --- what they list is whole ------------------------------------------------------


def test_every_error_code_is_listed_once():
    listed = first_column((DOCS / "errors.md").read_text())
    raised = [each.code for each in vars(errors).values() if _is_error(each)]
    assert len(set(raised)) == len(raised), "two errors have one code"
    unforeseen = re.findall(r'return "([A-Z_]+)"', Path(code_of.__code__.co_filename).read_text())
    assert sorted(listed) == sorted([*raised, *unforeseen])


def _is_error(each: object) -> bool:
    return isinstance(each, type) and issubclass(each, OnrecordError) and each is not OnrecordError


def floors() -> list[str]:
    """The listing in architecture.md, as paths in `service/`."""
    (listing,) = blocks(DOCS / "architecture.md", "")
    found: list[str] = []
    folder = ""
    for line in listing.splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
        found.append(name if not line.startswith(" ") else folder + name)
    return found


def test_the_floors_are_those_of_the_directory():
    service = ROOT / "service"
    modules = [str(each.relative_to(service)) for each in service.rglob("*.py") if each.name != "__init__.py"]
    packages = [f"{each.parent.relative_to(service)}/" for each in service.glob("*/__init__.py")]
    assert sorted(floors()) == sorted(modules + packages)


def test_the_floors_are_in_the_order_that_imports_are_held_to():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["type"] == "layers")
    top = [name.removesuffix("/").removesuffix(".py") for name in floors() if "/" not in name.removesuffix("/")]
    assert top == [name for each in layers if (name := each.strip("()")) in top]


def test_every_table_is_listed_once():
    listed = first_column(section(DOCS / "architecture.md", "The tables"))
    metadata = (tables.log_metadata, tables.read_metadata)
    assert sorted(listed) == sorted(table.name for side in metadata for table in side.tables.values())


def test_a_decision_is_a_page_with_its_three_parts():
    for number, page in enumerate(DECISIONS, 1):
        text = page.read_text()
        assert page.name.startswith(f"{number:03}-")
        assert text.startswith(f"# {number:03}: ")
        parts = ["What was done", "What else was considered", "What would change it"]
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == parts
        assert len(text.splitlines()) <= 60


# --- what they say can be run does run --------------------------------------------


@pytest.fixture(autouse=True)
def _nobodys_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("ONRECORD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ONRECORD_DATA_DIR", str(tmp_path / "data"))


def test_the_demo_answers_as_the_readme_says(server_folders: Path, postgres_bin: Path | None):
    """Both requests, the query and the mutation, in the order in which they stand there."""
    shown = blocks(README, "sh", "json")
    asked = [(block, json.loads(answer)) for block, answer in pairwise(shown) if "curl" in block]
    assert len(asked) == 2
    env = {**os.environ, "ONRECORD_DATA_DIR": str(server_folders / "readme"), "ONRECORD_PORT": "0"}
    if postgres_bin is not None:
        env["ONRECORD_POSTGRES_BIN"] = str(postgres_bin)
    command = [sys.executable, "-m", "service", "demo"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            address = _address(demo.stdout)
            for block, answer in asked:
                assert _curl(block, address) == answer
        finally:
            demo.send_signal(signal.SIGTERM)
    assert demo.returncode == 0


def _address(said: Iterator[str]) -> str:
    for line in said:
        if found := re.search(r"answers at (http://\S+)/graphql", line):
            return found[1]
    raise AssertionError("the demo ended before it answered")


def _curl(command: str, address: str) -> Any:
    """What the command gets, from `address` for the one it names."""
    _, silent, *words = shlex.split(command)
    assert silent == "-s"
    (url,) = (word for word in words if word.startswith("http://"))
    assert url == "http://127.0.0.1:8000/graphql", "where the demo answers unless told otherwise"
    rest = [word for word in words if word != url]
    if rest[0] == "-G":
        name, _, value = rest[2].partition("=")
        assert rest[1] == "--data-urlencode"
        answered = httpx.get(f"{address}/graphql", params={name: value})
    else:
        assert (rest[0], rest[2]) == ("-H", "-d")
        name, _, value = rest[1].partition(": ")
        answered = httpx.post(f"{address}/graphql", content=rest[3], headers={name: value})
    return answered.json()


def test_the_article_of_the_readme_can_be_imported(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (document,) = (block for block in blocks(README, "json") if "published_at" in block)
    (block,) = (block for block in blocks(README, "sh") if "onrecord import" in block)
    monkeypatch.setenv("ONRECORD_DATABASE_URL", _text(database.service_url))
    monkeypatch.chdir(tmp_path)
    Path("article.json").write_text(document)
    commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert [words[1] for words in commands] == ["import", "claims", "claim", "serve"]
    for _, *arguments in commands[:-1]:
        assert main(arguments) == 0
    said = capfd.readouterr()
    assert said.err == "1 claim: 1 asserted\n"
    for statement in json.loads(document)["claims"][0]["statements"]:
        assert statement["quote"] in said.out


def test_the_roles_of_the_readme_will_do(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """The test's server has both roles already, so two others are made in their place and go again."""
    (sql,) = blocks(README, "sql")
    made = "onrecord_of_the_readme"
    owner, service = empty_database.owner_url, empty_database.service_url
    roles = [f"{owner.username}_of_the_readme", f"{service.username}_of_the_readme"]
    administrator = engines.create(empty_database.superuser_url)
    with administrator.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        try:
            for statement in sql.split(";\n"):
                statement = re.sub(r"(CREATE ROLE \w+)", r"\1_of_the_readme", statement)
                conn.exec_driver_sql(statement.replace("DATABASE onrecord ", f"DATABASE {made} "))
            monkeypatch.setenv("ONRECORD_OWNER_URL", _text(owner.set(database=made)))
            monkeypatch.setenv("ONRECORD_DATABASE_URL", _text(service.set(database=made)))
            (block,) = (block for block in blocks(README, "sh") if "onrecord migrate" in block)
            exported, commands = [], []
            for line in block.splitlines():
                first, *words = shlex.split(line)
                (exported if first == "export" else commands).append(words)
            urls = dict(each[0].split("=", 1) for each in exported)
            assert {name: engines.create(url).url.username for name, url in urls.items()} == {
                "ONRECORD_DATABASE_URL": service.username,
                "ONRECORD_OWNER_URL": owner.username,
            }
            for arguments in commands:
                assert main(arguments) == 0
            assert capfd.readouterr().err == "", "no warning that the service owns the log"
        finally:
            conn.exec_driver_sql(f"DROP DATABASE IF EXISTS {made}")
            for role in roles:
                conn.exec_driver_sql(f"DROP ROLE IF EXISTS {role}")
    administrator.dispose()


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
