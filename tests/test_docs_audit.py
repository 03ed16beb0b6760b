"""docs/audit.md: its commands run as they stand there, in order, and print what stands under them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import graphql
import pytest

from service.domain.policies import Reason
from tests.conftest import Database

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "audit.md").read_text()
#: Commands, and lines of what they print.
SHOWN = re.findall(r"^```sh\n(.*?)^```\n(?:```text\n(.*?)^```)?", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder to work in, with the example articles."""
    (tmp_path / "seeds").symlink_to(ROOT / "seeds")
    return tmp_path


def test_what_the_page_shows_is_what_an_auditor_gets(database: Database, home: Path):
    assert len(SHOWN) == PAGE.count("```sh")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ONRECORD_")}
    env = {
        **clean,
        "PYTHONPATH": str(ROOT),
        "ONRECORD_DATABASE_URL": database.service_url.render_as_string(hide_password=False),
        "ONRECORD_DATA_DIR": str(home / "data"),
    }
    python = shlex.quote(sys.executable)
    as_installed = f'set -e\nonrecord() {{ {python} -m service "$@"; }}\npython() {{ {python} "$@"; }}\n'
    for commands, expected in SHOWN:
        script = as_installed + commands
        ran = subprocess.run(["sh", "-c", script], cwd=home, env=env, capture_output=True, text=True, check=False)
        said = _plain(ran.stdout + ran.stderr)
        assert ran.returncode == 0, (commands, said)
        for line in expected.splitlines():
            assert _plain(line) in said, commands


def _plain(text: str) -> str:
    """Without regard to how columns are set, nor to times."""
    return re.sub(r"\s+", " ", re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?  (recorded )?", "", text)).strip()


def test_its_query_is_one_that_the_schema_allows():
    (query,) = re.findall(r"^```graphql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    schema = graphql.build_schema((ROOT / "schema.graphql").read_text())
    assert graphql.validate(schema, graphql.parse(query)) == []


def test_every_reason_is_explained():
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \|", PAGE, re.MULTILINE)
    explained = re.findall(r"[A-Z_]+", " ".join(rows))
    assert sorted(explained) == sorted(Reason)
