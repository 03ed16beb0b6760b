"""The explorer as its readers meet it: a real service, and a browser of one reader's own.

    def test_...(reader: Reader):
        reader.open("/claim/troops-withdrawing")
        expect(reader.page.get_by_role("heading", level=1)).to_contain_text("withdrawing")

A reader's browser can reach no host but the service. A test fails of whatever the browser complains about meanwhile.
"""

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, ViewportSize, expect, sync_playwright
from sqlalchemy import Engine

from service.domain.article import Article
from service.domain.events import Event
from tests.browser import chromium
from tests.processes import Start, ask, eventually, processes, projected, record

HERE = Path(__file__).parent / "browser"
AXE = HERE / "axe.min.js"
#: Where a reader is who did not say.
ZONE = "Europe/Oslo"

#: Every screen on the seeds, by its name.
SCREENS = {
    "claims": "/",
    "claim": "/claim/troops-withdrawing",
    "article": "/article?url=urn:seed:003_78960176f7a9f587",
    "speaker": "/speaker/jens-stoltenberg",
    "compare": "/compare",
    "log": "/log",
    "event": "/log/2",
    "nothing": "/claim/nobody-said-so",
    "nowhere": "/nowhere",
}
#: The same as of an earlier position.
PAST = {name: f"{place}{'&' if '?' in place else '?'}at=3" for name, place in SCREENS.items()}
WIDE = ViewportSize(width=1280, height=800)
NARROW = ViewportSize(width=360, height=740)

expect.set_options(timeout=20_000)


class Service:
    """`onrecord serve` at a port that stays the same when it is stopped and started again."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self.port = "0"
        self.begin()

    def begin(self) -> None:
        self.process = self._start("serve", "--port", self.port)
        self.address, self.port = self.process.line(r"answers at (http://127\.0\.0\.1:(\d+))/graphql").groups()

    def stop(self) -> None:
        assert self.process.ends(signal.SIGTERM) == 0


class Reader:
    """Somebody with a browser window."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        #: What the browser complained about, and what was asked of other hosts.
        self.faults: list[str] = []
        self.asked: list[Request] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self._requested)

    def _heard(self, message: ConsoleMessage) -> None:
        # That there is no such page is no fault of the page.
        if message.type in ("error", "warning") and message.location["url"] != self.page.url:
            self.faults.append(f"{message.text} ({message.location['url']})")

    def _requested(self, request: Request) -> None:
        self.asked.append(request)
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.faults.append(f"asked another host: {request.url}")

    def open(self, path: str) -> None:
        """As by a link that somebody sent."""
        self.page.goto(self.address + path)
        self.settled()

    def settled(self) -> None:
        """Waits until the screen that the address names is shown."""
        expect(self.page.locator("main")).to_have_attribute("aria-busy", "false")

    def rests(self) -> None:
        """Waits until nothing more is asked for. A stream that stays open does not count."""
        self.page.wait_for_function(
            """async () => {
                const asked = () => performance.getEntriesByType('resource').length;
                const before = asked();
                await new Promise((resolve) => setTimeout(resolve, 300));
                return asked() === before;
            }"""
        )

    def controls(self) -> int:
        """How many controls the keyboard should come to; `focused` knows them by their number."""
        return self.page.evaluate(
            """() => {
                const every = 'a[href], button, input, select, textarea, summary, [tabindex="0"]';
                const seen = [...document.querySelectorAll(every)].filter(
                    (each) => each.tabIndex >= 0 && each.checkVisibility({ visibilityProperty: true }) && !each.disabled
                        && !(each.type === 'radio' && !each.checked));
                seen.forEach((each, number) => { each.dataset.number = number; });
                return seen.length;
            }"""
        )

    def focused(self) -> dict[str, Any] | None:
        """The control that has the focus, and whether one sees that it has; None outside the page's own."""
        return self.page.evaluate(
            """() => {
                const now = document.activeElement;
                if (!now || now === document.body) return null;
                const { outlineStyle, outlineWidth } = getComputedStyle(now);
                const box = now.getBoundingClientRect();
                return {
                    number: now.dataset.number === undefined ? null : Number(now.dataset.number),
                    shown: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2
                        && box.bottom > 0 && box.top < innerHeight,
                    html: now.outerHTML.slice(0, 300),
                };
            }"""
        )

    @property
    def place(self) -> str:
        """What stands in the address bar, after the host."""
        return self.page.url.removeprefix(self.address)

    def questions(self) -> list[Request]:
        """What was asked of GraphQL so far, but for what streams."""
        return [each for each in self.asked if "/graphql?" in each.url and each.resource_type == "fetch"]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.scrollingElement.scrollWidth - innerWidth")

    def nodes(self) -> int:
        """Of how many elements the page is made."""
        return self.page.evaluate("document.querySelectorAll('*').length")

    def violations(self) -> list[str]:
        """What axe finds, each with where."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations)")
        return [
            f"{rule['id']}: {rule['help']}: {node['target']} {node['failureSummary']}"
            for rule in found
            for node in rule["nodes"]
        ]

    def snapshot(self) -> str:
        """The accessibility tree, without what differs from one record of the seeds to another."""
        tree = self.page.locator("body").aria_snapshot()
        tree = re.sub(r"\d{1,2} \w{3} \d{4}, \d\d:\d\d(:\d\d)?", "MOMENT", tree)
        tree = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)", "INSTANT", tree)
        tree = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "ID", tree)
        tree = re.sub(r"\b[0-9a-f]{32,64}\b", "HASH", tree)
        return re.sub(r"\bcli:\w+", "cli:WHO", tree) + "\n"


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """Chromium, which finds no host but this machine."""
    path = chromium.found()
    assert path is not None, "There is no Chromium: `make chromium` gets one, or set ONRECORD_TEST_CHROMIUM."
    arguments = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--force-color-profile=srgb"]
    with sync_playwright() as playwright:
        # Its sandbox does not work for root.
        yield playwright.chromium.launch(executable_path=path, args=arguments, chromium_sandbox=os.geteuid() != 0)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """It goes with its module, as Playwright keeps an event loop running that other tests must not meet."""
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def seeded_service(request: pytest.FixtureRequest, server_folders: Path) -> Iterator[Service]:
    """The service on a record of the five seeds. Nobody writes to it."""
    with processes(data_dir=str(server_folders / request.path.stem)) as start:
        importing = start("import", "seeds")
        importing.line("5 recorded")
        assert importing.ends() == 0
        service = Service(start)
        signed = "{ log { checkpoint { treeSize } } }"
        eventually(lambda: ask(f"{service.address}/graphql", signed)["log"]["checkpoint"] == {"treeSize": 5})
        yield service
        service.stop()


Enter = Callable[..., Reader]


@pytest.fixture
def enter(browser: Browser) -> Iterator[Enter]:
    """Brings a reader to a service, by default with a wide window. `options` are those of a browser context."""
    readers: list[Reader] = []

    def enter(service: Service, **options: Any) -> Reader:
        context = browser.new_context(**{"viewport": WIDE, "timezone_id": ZONE, "locale": "en-GB", **options})
        readers.append(Reader(context.new_page(), service.address))
        return readers[-1]

    yield enter
    for reader in readers:
        reader.page.context.close()
    faults = [fault for reader in readers for fault in reader.faults]
    assert not faults, faults


@pytest.fixture
def reader(enter: Enter, seeded_service: Service) -> Reader:
    """A reader of the seeds."""
    return enter(seeded_service)


class Written:
    """A service on a record of the test's own, which begins with nothing."""

    def __init__(self, service: Service, engine: Engine) -> None:
        self.service = service
        self._engine = engine
        self._recorded = 0

    def append(self, *articles: Article | Event) -> None:
        """Puts them at the end of the log, as another process does."""
        record(self._engine, *articles)
        self._recorded += len(articles)

    def record(self, *articles: Article | Event) -> None:
        """The same, and waits until the service shows it."""
        self.append(*articles)
        eventually(lambda: projected(self._engine) == self._recorded)


@pytest.fixture
def written(start: Start, engine: Engine) -> Written:
    return Written(Service(start), engine)
