"""Chromium for the tests that need one: the one that is installed, or else one that is fetched.

`make test` runs this file, which fetches one where none is found: Debian's package where that can be installed, which
takes root, and otherwise Playwright's own download, into `.venv`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

#: Where Playwright's own download goes.
FETCHED = Path(__file__).resolve().parents[2] / ".venv" / "chromium"
#: Those first that are made without windows: they show the same for less of the processor's time.
_SHELLS = ("chromium-headless-shell", "chrome-headless-shell", "headless_shell")
_NAMES = (*_SHELLS, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MACOS = tuple(Path(f"/Applications/{name}.app/Contents/MacOS/{name}") for name in ("Chromium", "Google Chrome"))


@cache
def found() -> Path | None:
    """The first Chromium that runs: ONRECORD_TEST_CHROMIUM if that is set, one on the path, or the fetched one."""
    return next((path for path in _candidates() if _runs(path)), None)


def _candidates() -> Iterator[Path]:
    if named := os.environ.get("ONRECORD_TEST_CHROMIUM"):
        yield Path(named)
        return
    yield from (Path(path) for name in _NAMES if (path := shutil.which(name)))
    yield from _MACOS
    for name in _SHELLS:
        yield from FETCHED.rglob(name)


def _runs(path: Path) -> bool:
    """A package may leave a program behind that only says where the real one is."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def fetch() -> None:
    """Get one. Where neither way works, the tests that need it say so."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Chromium by apt-get ...", flush=True)
        _apt_get("update")
        # Of the first an older release has no package.
        for package in ("chromium-headless-shell", "chromium"):
            if _apt_get("install", "--yes", "--no-install-recommends", package):
                break
        found.cache_clear()
    if found() is None:
        print(f"Fetching Chromium into {FETCHED} ...", flush=True)
        subprocess.run(
            [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"],
            env={**os.environ, "PLAYWRIGHT_BROWSERS_PATH": str(FETCHED)},
        )
        found.cache_clear()


def _apt_get(*arguments: str) -> bool:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(["apt-get", "--quiet=2", *arguments], env=quiet).returncode == 0


if __name__ == "__main__":
    if found() is None:
        fetch()
    if found() is None:
        print("There is no Chromium, and none could be fetched: the tests in a browser will fail.", file=sys.stderr)
