"""The supply chain: all that is locked has hashes, and what the program is made of can be listed and audited."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from service.config import Settings
from supply import audit
from supply.sbom import VENDOR, sbom
from tests.processes import ROOT

LOCKS = [*sorted((ROOT / "requirements").glob("*.txt")), ROOT / "benchmarks" / "peers" / "requirements.txt"]


@pytest.fixture(scope="module")
def listed() -> dict[str, Any]:
    return sbom()


def locked(lock: Path) -> dict[str, str]:
    """Name and version of each package, by its line with all hashes."""
    entries = re.findall(r"^(\S+==(?:[^\\\n]|\\\n)*)", lock.read_text(), re.MULTILINE)
    return {entry: "@".join(entry.split(" ")[0].split("==")) for entry in entries}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_everything_that_is_locked_has_hashes(lock: Path):
    assert locked(lock)
    for entry in locked(lock):
        assert "--hash=sha256:" in entry, entry


def test_the_list_holds_every_package_that_runs(listed: dict[str, Any]):
    named = {each["purl"].removeprefix("pkg:pypi/") for each in listed["components"]}
    assert set(locked(ROOT / "requirements" / "run.txt").values()) <= named


def test_the_list_holds_every_browser_module_of_others(listed: dict[str, Any]):
    files = [file["name"] for each in listed["components"] for file in each.get("components", ())]
    ours = ("README.md", "LICENSE-")
    there = [path for path in VENDOR.rglob("*") if path.is_file() and not path.name.startswith(ours)]
    assert sorted(files) == sorted(str(path.relative_to(ROOT)) for path in there)


def test_the_list_is_what_its_format_says(listed: dict[str, Any]):
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(listed))
    assert errors is None


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        ({"vulns": []}, 0, "no vulnerability is known"),
        ({"vulns": [{"id": "CVE-1", "fix_versions": ["2.0"]}]}, 1, "a 1.0: CVE-1, mended in 2.0"),
        ({"skip_reason": "not found"}, 2, "nothing is known"),
    ],
    ids=["sound", "vulnerable", "unknown"],
)
def test_the_audit_says_what_it_could_find_out(
    found: dict[str, Any], status: int, said: str, capsys: pytest.CaptureFixture[str]
):
    """What could not be asked is never taken for sound."""
    assert audit.told([{"name": "a", "version": "1.0", **found}]) == status
    assert said in "".join(capsys.readouterr())


# --- the container --------------------------------------------------------------------


def test_the_image_is_not_roots_and_holds_what_is_locked():
    lines = (ROOT / "Containerfile").read_text().splitlines()
    assert "USER 10001:10001" in lines
    installs = [line for line in lines if "pip install" in line]
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    asked = dict(re.findall(r"\b(ONRECORD_\w+)=(\S+)", "\n".join(lines)))
    assert {name.removeprefix("ONRECORD_").lower() for name in asked} <= Settings.model_fields.keys()


def test_the_service_of_the_compose_file_is_not_who_owns_the_tables():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for name in ("migrate", "service"):
        assert services[name]["read_only"] is True
        assert services[name]["user"] == "10001:10001"
        assert services[name]["cap_drop"] == ["ALL"]
    assert "OWNER" not in str(services["service"]["environment"])
    assert services["service"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert all(port.startswith("127.0.0.1:") for port in services["service"]["ports"])
    assert "ports" not in services["database"]
    for each in services.values():
        for name in each["environment"]:
            assert not name.startswith("ONRECORD_") or name.removeprefix("ONRECORD_").lower() in Settings.model_fields
