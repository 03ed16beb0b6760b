"""Break the code in each way that is kept here, and see that its tests notice.

A mutant is a file `NAME.patch` beside this one: what it breaks in words, the tests that must
fail of it, and the difference as git prints it.

    Appends no longer take turns.
    Fails: tests/test_log.py::test_positions_have_no_gap
    Fails: tests/test_log.py::test_a_reader_never_misses_an_event

    diff --git a/service/log.py b/service/log.py
    ...

To keep one: break the code, watch the test fail, `git diff >tests/mutants/NAME.patch`, write the
lines above it, and `git restore` the code. `make mutants` runs them all, in copies of the
working tree; `make mutants ARGS="NAME ..."` runs some.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = Path(__file__).parent

#: A test that a mutant makes wait for ever is stopped, and counts as one that did not fail.
TIMEOUT_S = 300


@dataclass(frozen=True)
class Mutant:
    """One way to break the code, and the tests that must notice."""

    name: str
    breaks: str
    tests: tuple[str, ...]  #: as pytest names them
    patch: Path


class Word(StrEnum):
    """What became of a mutant."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    STALE = "STALE"  #: the patch no longer applies
    BROKEN = "BROKEN"  #: its tests could not run, which is no proof that they would notice


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant, and why if it was not caught."""

    word: Word
    why: str = ""


@dataclass(frozen=True)
class Outcome:
    """What pytest made of some tests, each by its name."""

    exit_code: int | None  #: None: stopped after `TIMEOUT_S`
    failed: tuple[str, ...]
    errors: tuple[str, ...]
    output: str

    def fails(self, test: str) -> bool:
        """Whether `test` failed; one case is enough, of a test with several."""
        return any(named(test, item) for item in self.failed)

    def has_error(self, test: str) -> bool:
        """Whether a fixture of `test` broke, so that nothing is known of the test itself."""
        return any(named(test, item) for item in self.errors)


def named(test: str, item: str) -> bool:
    """Whether pytest's `item` is `test`, or a case of it."""
    return item == test or item.startswith((f"{test}[", f"{test}::"))


def mutants(folder: Path = MUTANTS) -> list[Mutant]:
    """Every mutant in `folder`, by name."""
    return [read(patch) for patch in sorted(folder.glob("*.patch"))]


def read(patch: Path) -> Mutant:
    """The mutant in the file `patch`; ValueError where it does not say what it breaks or what must fail."""
    lines = patch.read_text(encoding="utf-8").splitlines()
    head = list(takewhile(lambda line: not line.startswith(("diff --git ", "--- ")), lines))
    tests = [line.removeprefix("Fails:").strip() for line in head if line.startswith("Fails:")]
    words = [line for line in head if line.strip() and not line.startswith("Fails:")]
    if not (tests and all(tests) and words and head[0] == words[0]):
        raise ValueError(
            f"{patch.name}: begin with a line that says in words what it breaks, "
            "then a line `Fails: tests/test_x.py::test_name` for each test that must fail"
        )
    return Mutant(patch.stem, words[0].strip(), tuple(tests), patch)


@contextmanager
def copied(tree: Path) -> Generator[Path]:
    """A copy of the working tree for as long as the block runs, without what git or tools keep in it."""
    with tempfile.TemporaryDirectory(prefix="onrecord-mutant-") as folder:
        copy = Path(folder, "onrecord")
        left_out = shutil.ignore_patterns(".git", ".venv", ".hypothesis", ".*_cache", "__pycache__", "build", "dist")
        shutil.copytree(tree, copy, ignore=left_out, symlinks=True)
        yield copy


def apply(patch: Path, tree: Path, *, only_check: bool = False) -> str:
    """Apply `patch` to `tree`, exactly; answers git's complaint, or nothing if it applied."""
    # Called from a hook, git would look at that hook's repository instead of `tree`.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    git = ["git", "apply", "--whitespace=nowarn", *(["--check"] if only_check else []), str(patch)]
    done = subprocess.run(git, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def run_tests(tree: Path, tests: Sequence[str]) -> Outcome:
    """Run `tests` in `tree`, with the modules of `tree`."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=line", "--color=no", "--hypothesis-seed=0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # Before the place of the checkout, which an editable install puts on the path.
    environment["PYTHONPATH"] = str(tree)
    # Into a file, not a pipe: a pipe stays open for as long as a server that a killed test left behind.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            [*command, *tests],
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            exit_code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            exit_code = None
            process.terminate()  # Its fixtures may yet stop their server.
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        output.seek(0)
        text = output.read()
    return Outcome(
        exit_code,
        failed=tuple(re.findall(r"^FAILED (.*?)(?: - .*)?$", text, re.MULTILINE)),
        errors=tuple(re.findall(r"^ERROR (.*?)(?: - .*)?$", text, re.MULTILINE)),
        output=text.strip(),
    )


def judge(mutant: Mutant, tree: Path = ROOT) -> Verdict:
    """Whether every test named by `mutant` fails in a copy of `tree` that is broken so."""
    with copied(tree) as copy:
        if complaint := apply(mutant.patch, copy):
            return Verdict(Word.STALE, f"does not apply: {complaint}")
        outcome = run_tests(copy, mutant.tests)
    if outcome.exit_code is None:
        return Verdict(Word.BROKEN, f"its tests had not ended after {TIMEOUT_S} s")
    if outcome.exit_code not in (0, 1):
        return Verdict(Word.BROKEN, f"its tests did not run:\n{outcome.output}")
    if errors := [test for test in mutant.tests if outcome.has_error(test)]:
        return Verdict(Word.BROKEN, f"an error, not a failure, in {', '.join(errors)}:\n{outcome.output}")
    if passed := [test for test in mutant.tests if not outcome.fails(test)]:
        return Verdict(Word.SURVIVED, f"did not notice: {', '.join(passed)}")
    return Verdict(Word.CAUGHT)


def unfit(chosen: Sequence[Mutant], tree: Path = ROOT) -> str:
    """What pytest says if tests that the mutants name do not pass in `tree` as it is; nothing if all do."""
    tests = sorted({test for mutant in chosen for test in mutant.tests})
    with copied(tree) as copy:
        outcome = run_tests(copy, tests)
    return "" if outcome.exit_code == 0 else outcome.output


def chosen_by(names: Sequence[str], known: Sequence[Mutant]) -> list[Mutant]:
    """The mutants called `names`, all if there are none; SystemExit if one is not known."""
    if unknown := sorted(set(names) - {mutant.name for mutant in known}):
        raise SystemExit(f"no such mutant: {', '.join(unknown)}; there are {', '.join(m.name for m in known)}")
    return [mutant for mutant in known if not names or mutant.name in names]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every mutant was caught, else 1."""
    parser = argparse.ArgumentParser(prog="make mutants ARGS=...", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a mutant, by default all of them")
    chosen = chosen_by(parser.parse_args(arguments).names, mutants())
    if not chosen:
        print("no mutants yet; tests/mutants/run.py says how to keep one")
        return 0

    started = time.monotonic()
    if complaint := unfit(chosen):
        print(f"{complaint}\n\nThese must pass before anything is broken; no mutant was tried.")
        return 1
    width = max(len(mutant.name) for mutant in chosen)
    words: list[Word] = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        for mutant, verdict in zip(chosen, pool.map(judge, chosen), strict=True):
            print(f"{verdict.word:8}  {mutant.name:{width}}  {mutant.breaks}", flush=True)
            if verdict.why:
                print("    " + verdict.why.replace("\n", "\n    "), flush=True)
            words.append(verdict.word)
    counts = ", ".join(f"{words.count(word)} {word.lower()}" for word in Word if word in words)
    print(f"{counts} in {time.monotonic() - started:.0f} s")
    return 0 if set(words) == {Word.CAUGHT} else 1


if __name__ == "__main__":
    sys.exit(main())
