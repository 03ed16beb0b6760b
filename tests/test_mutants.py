"""The mutants are in order, and their judge is strict."""

import difflib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import run
from tests.mutants.run import Word

MUTANTS = run.mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_applies(mutant: run.Mutant):
    assert run.apply(mutant.patch, run.ROOT, only_check=True) == ""


@pytest.mark.skipif(not MUTANTS, reason="there are no mutants yet")
def test_every_mutant_names_tests_that_exist(request: pytest.FixtureRequest):
    here = {name for item in request.session.items for name in (item.nodeid, item.nodeid.partition("[")[0])}
    tests = sorted({test for mutant in MUTANTS for test in mutant.tests} - here)
    if not tests:
        return
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *tests],
        cwd=run.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


CODE = """\
def double(number):
    return 2 * number
"""

TESTS = """\
import pytest
import service

@pytest.fixture
def four():
    assert service.double(2) == 4

@pytest.mark.parametrize("number", [0, 1])
def test_double(number):
    assert service.double(number) == number + number

def test_double_of_nothing():
    assert service.double(0) == 0

def test_with_fixture(four):
    assert service.double(2) == 4
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project in a folder with a space; its `service` must be found before ours."""
    tree = tmp_path / "a tree"
    (tree / "tests").mkdir(parents=True)
    (tree / "service.py").write_text(CODE)
    (tree / "tests" / "test_double.py").write_text(TESTS)
    return tree


def mutant(tree: Path, *tests: str, broken: str, code: str = CODE) -> run.Mutant:
    """One that puts `broken` in the place of `code`."""
    lines = difflib.unified_diff(
        code.splitlines(keepends=True),
        broken.splitlines(keepends=True),
        "a/service.py",
        "b/service.py",
    )
    fails = "".join(f"Fails: tests/test_double.py::{test}\n" for test in tests)
    patch = tree.parent / "tripled.patch"
    patch.write_text(f"Triples.\n{fails}\n{''.join(lines)}")
    return run.read(patch)


TRIPLED = CODE.replace("2 *", "3 *")


def test_a_mutant_is_caught_when_all_its_tests_fail(tree: Path):
    assert run.judge(mutant(tree, "test_double", broken=TRIPLED), tree).word == Word.CAUGHT


def test_the_tree_itself_stays_whole(tree: Path):
    run.judge(mutant(tree, "test_double", broken=TRIPLED), tree)
    assert (tree / "service.py").read_text() == CODE


def test_one_test_that_does_not_notice_lets_a_mutant_survive(tree: Path):
    verdict = run.judge(mutant(tree, "test_double", "test_double_of_nothing", broken=TRIPLED), tree)
    assert verdict.word == Word.SURVIVED
    assert verdict.why.endswith("test_double_of_nothing")


@pytest.mark.parametrize(
    ("test", "broken"),
    [
        pytest.param("test_double", "def double(:\n", id="the test's file cannot be imported"),
        pytest.param("test_gone", TRIPLED, id="there is no such test"),
        pytest.param("test_with_fixture", TRIPLED, id="a fixture fails before the test"),
    ],
)
def test_a_test_that_cannot_run_has_not_noticed(tree: Path, test: str, broken: str):
    assert run.judge(mutant(tree, test, broken=broken), tree).word == Word.BROKEN


def test_a_test_that_never_ends_has_not_noticed(tree: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "TIMEOUT_S", 2)
    endless = CODE.replace("return", "while True: number =")
    assert run.judge(mutant(tree, "test_double", broken=endless), tree).word == Word.BROKEN


def test_a_patch_of_other_code_is_stale(tree: Path):
    other = CODE.replace("number", "value")
    stale = mutant(tree, "test_double", code=other, broken=other.replace("2 *", "3 *"))
    assert run.judge(stale, tree).word == Word.STALE


def test_tests_must_pass_before_anything_is_broken(tree: Path):
    tripled = mutant(tree, "test_double", broken=TRIPLED)
    assert run.unfit([tripled], tree) == ""
    (tree / "service.py").write_text(TRIPLED)
    assert "1 failed" in run.unfit([tripled], tree)


@pytest.mark.parametrize("head", ["", "Triples.\n", "Fails: tests/test_double.py::test_double\n", "Triples.\nFails:\n"])
def test_a_mutant_says_what_it_breaks_and_what_fails(tmp_path: Path, head: str):
    patch = tmp_path / "mute.patch"
    patch.write_text(f"{head}diff --git a/service.py b/service.py\n")
    with pytest.raises(ValueError, match=r"mute\.patch: begin with a line"):
        run.read(patch)
