"""What holds for every screen of the explorer, in a real browser on the five seeds."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.explorer import NARROW, PAST, SCREENS, WIDE, Enter, Reader, Service
from tests.explorer import browser as browser
from tests.explorer import enter as enter
from tests.explorer import reader as reader
from tests.explorer import seeded_service as seeded_service

SNAPSHOTS = Path(__file__).parent / "browser" / "snapshots"
#: Set to `renew` to write the snapshots instead of comparing with them.
RENEW = os.environ.get("ONRECORD_TEST_SNAPSHOTS") == "renew"
FIRST_VIEW_BYTES_MAX = 60 * 1024

each_screen = pytest.mark.parametrize("name", SCREENS)


@each_screen
@pytest.mark.parametrize("past", [False, True], ids=["live", "past"])
def test_axe_finds_no_violation(name: str, past: bool, reader: Reader):
    reader.open(PAST[name] if past else SCREENS[name])
    for scheme in ("light", "dark"):
        # What has half changed its colour has too little contrast.
        reader.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for window in (WIDE, NARROW):
            reader.page.set_viewport_size(window)
            assert reader.violations() == [], f"{scheme}, {window['width']} px"


@each_screen
def test_a_screen_reader_is_told_the_same_as_before(name: str, reader: Reader):
    """What it is told may change; `make snapshots` writes it anew, for the difference to be read."""
    reader.open(SCREENS[name])
    stored = SNAPSHOTS / f"{name}.yaml"
    if RENEW:
        stored.write_text(reader.snapshot())
    assert reader.snapshot() == stored.read_text()


@each_screen
def test_a_view_takes_one_question(name: str, reader: Reader):
    reader.open(SCREENS[name])
    reader.rests()
    assert len(reader.questions()) <= 1
    assert len(reader.questions()) == 1 or name == "nowhere"


def test_the_first_view_is_small(reader: Reader):
    sent: list[float] = []
    network = reader.page.context.new_cdp_session(reader.page)
    network.send("Network.enable")
    network.on("Network.loadingFinished", lambda event: sent.append(event["encodedDataLength"]))
    reader.open("/")
    reader.rests()
    assert len(sent) > 5
    assert sum(sent) <= FIRST_VIEW_BYTES_MAX


@each_screen
def test_a_screen_fits_a_narrow_window(name: str, reader: Reader):
    reader.page.set_viewport_size(NARROW)
    for place in (SCREENS[name], PAST[name]):
        reader.open(place)
        assert reader.overflow() <= 0


@each_screen
def test_the_keyboard_reaches_every_control_in_its_order_and_shows_where_it_is(name: str, reader: Reader):
    reader.open(SCREENS[name])
    controls = reader.controls()
    assert controls > 5
    reached: list[int] = []
    for _ in range(2 * controls):
        reader.page.keyboard.press("Tab")
        focused = reader.focused()
        if focused is None:
            break
        assert focused["shown"], focused["html"]
        if focused["number"] is not None:
            reached.append(focused["number"])
    assert reached == list(range(controls))


@each_screen
def test_the_first_tab_skips_to_the_content(name: str, reader: Reader):
    reader.open(SCREENS[name])
    reader.page.keyboard.press("Tab")
    skip = reader.page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    reader.page.keyboard.press("Enter")
    expect(reader.page.locator("main")).to_be_focused()


@each_screen
def test_nothing_moves_for_who_wants_less_motion(name: str, enter: Enter, seeded_service: Service):
    reader = enter(seeded_service, reduced_motion="reduce")
    reader.open(SCREENS[name])
    moving = """[...document.querySelectorAll('*')].filter((each) => {
        const style = getComputedStyle(each);
        return style.transitionDuration.split(', ').some((time) => parseFloat(time) > 0) || each.getAnimations().length;
    }).map((each) => each.outerHTML.slice(0, 200))"""
    assert reader.page.evaluate(moving) == []


@each_screen
def test_the_past_is_told_and_tinted_and_links_stay_in_it(name: str, reader: Reader):
    reader.open(PAST[name])
    bar = reader.page.get_by_role("region", name="Time and policy")
    expect(bar).to_contain_text("As of")
    expect(reader.page.locator("html")).to_have_attribute("data-past", "")
    kept = reader.page.locator("main a[href^='/']:not([href^='/graphql']):not([href='/']), header a[href^='/']")
    expect(kept.first).to_be_visible()
    for link in kept.evaluate_all("(links) => links.map((link) => link.getAttribute('href'))"):
        assert "at=" in link
    bar.get_by_role("link", name="Back to live").click()
    reader.settled()
    expect(bar).to_contain_text("Live")
    expect(reader.page.locator("html")).not_to_have_attribute("data-past", "")
    assert reader.place.replace("%3A", ":") == SCREENS[name]
    reader.page.go_back()
    expect(bar).to_contain_text("As of")


@each_screen
def test_a_link_opened_fresh_shows_the_same(name: str, enter: Enter, reader: Reader, seeded_service: Service):
    reader.open(PAST[name])
    colleague = enter(seeded_service)
    colleague.open(reader.place)
    assert colleague.page.locator("main").inner_html() == reader.page.locator("main").inner_html()
    assert colleague.page.title() == reader.page.title()


def test_the_past_looks_other_than_the_present(reader: Reader):
    ground = "getComputedStyle(document.body).backgroundColor"
    for scheme in ("light", "dark"):
        reader.page.emulate_media(color_scheme=scheme)
        reader.open("/")
        present = reader.page.evaluate(ground)
        reader.open("/?at=3")
        assert reader.page.evaluate(ground) != present
