"""Pictures of every screen of the explorer on the seeds, light and dark, wide and narrow: `make screenshots`.

They go to build/screenshots, to be looked at. Those that the README shows are kept in docs/screenshots; name them to
have them made anew: `make screenshots ARGS="--keep claims-light-wide ..."`.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from tests.explorer import NARROW, PAST, SCREENS, WIDE, Reader, Service, launched
from tests.processes import ROOT, processes

MADE = ROOT / "build" / "screenshots"
KEPT = ROOT / "docs" / "screenshots"
#: What is worth a look beside the screens as they are opened.
MORE = {
    "claims-past": PAST["claims"],
    "claims-none": "/?text=nothing-is-like-this",
    "claim-past": PAST["claim"],
    "claim-recorded": "/claim/invasion-imminent?axis=recorded",
    "compare-policies": "/compare?by=policies",
}
GRAPHIQL = "graphiql"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--keep", nargs="*", default=[], metavar="NAME", help="to put into docs/screenshots too")
    kept = arguments.parse_args().keep
    shutil.rmtree(MADE, ignore_errors=True)
    MADE.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        # The embedded server's own user has to pass through.
        Path(folder).chmod(0o711)
        with processes(data_dir=f"{folder}/data") as start:
            assert start("import", "seeds").ends() == 0
            service = Service(start)
            picture(service)
            service.stop()
    for name in kept:
        KEPT.mkdir(exist_ok=True)
        shutil.copy(MADE / f"{name}.png", KEPT)


def picture(service: Service) -> None:
    """Takes them all."""
    with launched() as browser:
        for scheme in ("light", "dark"):
            for width, window in (("wide", WIDE), ("narrow", NARROW)):
                context = browser.new_context(viewport=window, color_scheme=scheme, locale="en-GB", timezone_id="UTC")
                reader = Reader(context.new_page(), service.address)
                for name, place in {**SCREENS, **MORE}.items():
                    reader.open(place)
                    reader.rests()
                    take(reader, f"{name}-{scheme}-{width}")
                reader.page.goto(f"{service.address}/graphql")
                reader.page.locator(".graphiql-container").wait_for()
                take(reader, f"{GRAPHIQL}-{scheme}-{width}")
                context.close()


def take(reader: Reader, name: str) -> None:
    """The window as it is, and the whole page beside it where that is longer."""
    reader.page.screenshot(path=MADE / f"{name}.png")
    if reader.page.evaluate("document.documentElement.scrollHeight > innerHeight"):
        reader.page.screenshot(path=MADE / f"{name}-whole.png", full_page=True)
    print(MADE.relative_to(ROOT) / f"{name}.png", flush=True)


if __name__ == "__main__":
    main()
