"""Each screen of the explorer on the five seeds, in a real browser: what it shows, and where its links lead."""

import json
import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Locator, Route, expect

from tests.api import SEEDS
from tests.explorer import Enter, Reader, Service
from tests.explorer import browser as browser
from tests.explorer import enter as enter
from tests.explorer import reader as reader
from tests.explorer import seeded_service as seeded_service

EXPECTED = json.loads((Path(__file__).parent / "expected" / "unanimous.json").read_text())["claims"]
LAST = len(SEEDS)


def states_at(position: int) -> dict[str, str]:
    """The state of each claim that there is after so many articles."""
    return {claim: after[position - 1] for claim, after in EXPECTED.items() if after[position - 1] != "absent"}


def shown_states(reader: Reader) -> dict[str, str]:
    """The state of each claim in the table of claims."""
    rows = reader.page.locator("table.claims tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [row.querySelector('a.proposition').getAttribute('href'),"
        " row.querySelector('.chip').textContent])"
    )
    return {re.split(r"[/?]", href)[2]: chip.split()[-1].lower() for href, chip in rows}


def region(reader: Reader, name: str) -> Locator:
    return reader.page.get_by_role("region", name=name, exact=True)


# --- claims -----------------------------------------------------------------------


@pytest.mark.parametrize("position", range(1, LAST + 1))
def test_the_claims_have_the_states_worked_out_by_hand_after_each_article(position: int, reader: Reader):
    reader.open(f"/?at={position}")
    assert shown_states(reader) == states_at(position)
    summary = reader.page.get_by_role("navigation", name="Claims by state")
    for state, number in Counter(states_at(position).values()).items():
        expect(summary.get_by_role("link", name=re.compile(state, re.IGNORECASE))).to_contain_text(str(number))


def test_a_state_is_told_by_sign_and_word(reader: Reader):
    """Never by colour alone."""
    reader.open("/")
    signs = {"Asserted": "+", "Denied": "−", "Unverified": "?"}
    chips = reader.page.locator("table.claims .chip").all_text_contents()
    assert {tuple(reversed(chip.split())) for chip in chips} == set(signs.items())


def test_who_filters_gets_a_link_to_what_is_shown(reader: Reader, enter: Enter, seeded_service: Service):
    reader.open("/")
    filters = reader.page.get_by_role("search", name="Claims")
    filters.get_by_label("State").select_option("unverified")
    filters.get_by_label("Topic").fill("troops")
    filters.get_by_label("Words in a proposition or quote").fill("withdraw")
    filters.get_by_role("button", name="Filter").click()
    expect(reader.page.locator("caption")).to_contain_text("2 claims that the filter lets through")
    shown = shown_states(reader)
    assert shown == {"troops-withdrawing": "unverified", "images-show-withdrawal": "unverified"}
    colleague = enter(seeded_service)
    colleague.open(reader.place)
    assert shown_states(colleague) == shown
    expect(colleague.page.get_by_label("Topic")).to_have_value("troops")


@pytest.mark.parametrize(
    ("filtered", "claims"),
    [
        ("state=denied", {"ukraine-nato-membership-on-agenda"}),
        ("contested=yes&topic=diplomacy", {"nato-gave-constructive-response"}),
        ("speaker=igor-konashenkov", {"troops-withdrawing", "large-exercises-continuing"}),
        ("text=genocide", {"genocide-in-donbass"}),
    ],
)
def test_each_filter_lets_through_what_fits(filtered: str, claims: set[str], reader: Reader):
    reader.open(f"/?{filtered}")
    assert set(shown_states(reader)) == claims


def test_a_policy_is_chosen_in_the_bar_and_kept_by_links(reader: Reader):
    reader.open("/claim/troops-withdrawing")
    reader.page.get_by_role("combobox", name="Policy").select_option("majority@1")
    expect(reader.page.locator(".sentence")).to_have_text("Asserted: 5 assert, 2 deny, 7 withhold.")
    reader.page.get_by_role("navigation", name="Screens").get_by_role("link", name="Claims").click()
    expect(reader.page.get_by_role("heading", name="What is claimed")).to_be_visible()
    assert shown_states(reader)["troops-withdrawing"] == "asserted"
    assert "policy=majority" in reader.place


def test_back_and_forward_go_where_the_reader_was(reader: Reader):
    reader.open("/")
    heading = reader.page.get_by_role("heading", level=1)
    reader.page.get_by_role("link", name="A genocide is being committed").click()
    expect(heading).to_contain_text("genocide")
    reader.page.get_by_role("link", name="Vladimir Putin").first.click()
    expect(heading).to_have_text("Vladimir Putin")
    reader.page.go_back()
    expect(heading).to_contain_text("genocide")
    reader.page.go_back()
    expect(heading).to_have_text("What is claimed")
    reader.page.go_forward()
    expect(heading).to_contain_text("genocide")
    # A view within the explorer is no new page.
    assert [each for each in reader.asked if each.is_navigation_request()] == reader.asked[:1]


def test_to_the_past_by_position_and_back(reader: Reader):
    reader.open("/claim/troops-withdrawing")
    sentence = reader.page.locator(".sentence")
    expect(sentence).to_have_text("Unverified: 5 assert, 2 deny, 7 withhold.")
    reader.page.get_by_text("Go to a moment").click()
    reader.page.get_by_label("Position", exact=True).fill("4")
    reader.page.get_by_role("button", name="Go there").click()
    expect(sentence).to_contain_text("Asserted:")
    expect(region(reader, "Time and policy")).to_contain_text("As of position 4")
    reader.page.get_by_role("link", name="Back to live").click()
    expect(sentence).to_contain_text("Unverified:")


def test_to_what_was_said_by_a_day(reader: Reader):
    """By the fifteenth nobody had denied it, whatever we know by now."""
    reader.open("/claim/troops-withdrawing?said=2022-02-15")
    expect(reader.page.locator(".sentence")).to_contain_text("Asserted:")
    expect(region(reader, "Time and policy")).to_contain_text("said by 15 Feb 2022")


# --- a claim ----------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["said", "recorded"])
def test_a_claim_has_one_mark_for_each_transition_and_the_same_as_a_list(axis: str, reader: Reader):
    reader.open(f"/claim/invasion-imminent?axis={axis}")
    listed = region(reader, "How it came about")
    marks = listed.locator(".lane .mark")
    listed.locator("summary").click()
    rows = listed.locator("tbody tr")
    expect(listed.locator("summary")).to_contain_text(f"{rows.count()} changes")
    assert marks.count() == rows.count() > 1
    assert [each.split()[0] for each in marks.locator("text").all_text_contents()] == [
        chip.split()[0] for chip in rows.locator(".chip").all_text_contents()
    ]
    if axis == "recorded":
        positions = [re.search(r"position (\d)", row).group(1) for row in rows.all_text_contents()]  # type: ignore[union-attr]
        assert positions == ["1", "4"]


def test_a_claim_tells_who_moved_and_when(reader: Reader):
    reader.open("/claim/troops-withdrawing")
    row = region(reader, "Speakers").get_by_role("row", name=re.compile("Jens Stoltenberg"))
    expect(row).to_contain_text("moved: withholds, then denies on 16 Feb 2022")
    expect(row).to_contain_text("no withdrawals of troops or equipment")


def test_a_claim_lists_each_speaker_and_each_statement_once(reader: Reader):
    said = [claim.claim for article in SEEDS for _, claim, _ in article.statements()].count("troops-withdrawing")
    reader.open("/claim/troops-withdrawing")
    speakers = region(reader, "Speakers")
    assert speakers.locator("tr.group").all_text_contents() == ["+ 5 assert it", "− 2 deny it", "? 7 take no side"]
    assert speakers.locator("tbody tr:not(.group)").count() == 14
    pages = region(reader, "All statements")
    shown = pages.locator("ol.statements > li").count()
    if pages.get_by_role("link", name="Older").count():
        pages.get_by_role("link", name="Older").click()
        expect(pages.get_by_role("link", name="Newer")).to_be_visible()
        shown += pages.locator("ol.statements > li").count()
    assert shown == said


def test_a_claim_stands_beside_itself_under_each_policy(reader: Reader):
    reader.open("/claim/troops-withdrawing")
    rows = region(reader, "Under each policy").locator("tbody tr")
    found = {row.locator("th").inner_text(): row.locator(".chip").inner_text().split()[-1] for row in rows.all()}
    assert found == {
        "unanimous@1": "Unverified",
        "corroborated@1": "Unverified",
        "majority@1": "Asserted",
        "latest@1": "Denied",
        "any_denial@1": "Denied",
    }


# --- article, speaker, compare ----------------------------------------------------


def test_an_article_shows_its_claims_and_statements(reader: Reader):
    reader.open("/article?url=urn:seed:003_78960176f7a9f587")
    expect(reader.page.get_by_role("heading", level=1)).to_have_text(SEEDS[0].headline or "")
    said = region(reader, "11 statements on 7 claims")
    assert said.get_by_role("heading", level=3).count() == 7
    assert said.locator("article.statement").count() == 11
    expect(said).to_contain_text("have completed their exercises and started returning to bases")


def test_an_article_without_headline_or_outlet_can_be_read(reader: Reader):
    reader.open("/article?url=urn:seed:002_91f6146eaec76115")
    expect(reader.page.get_by_role("heading", level=1)).to_have_text("No headline")


def test_a_speaker_stands_where_the_seeds_say(reader: Reader):
    reader.open("/speaker/jens-stoltenberg")
    expect(region(reader, "Takes a side on 7 claims").locator("li")).to_have_text(
        [
            re.compile("5 have the state that they say"),
            re.compile("0 have the opposite state"),
            re.compile("2 have neither"),
        ]
    )
    moved = region(reader, "Stances over time").get_by_role("row", name=re.compile("^Russia has begun withdrawing"))
    expect(moved).to_contain_text("moved: withholds, then denies on 16 Feb 2022")
    expect(region(reader, "Names as printed")).to_contain_text("Jens Stoltenberg, Secretary-General of NATO")


def test_two_positions_compared_show_what_differs_and_why(reader: Reader):
    reader.open("/compare?from=4&to=5")
    rows = reader.page.locator("table.compared tbody tr")
    differing = {claim for claim, after in EXPECTED.items() if after[3] != after[4]}
    links = rows.locator("th a").evaluate_all("(links) => links.map((link) => link.getAttribute('href'))")
    assert differing <= {href.split("/")[2] for href in links}
    row = reader.page.get_by_role("row", name=re.compile("^Russia has begun withdrawing"))
    expect(row).to_contain_text("Asserted")
    expect(row).to_contain_text("Unverified")
    expect(row).to_contain_text("Sir Jim Hockenhull")


def test_two_policies_compared_put_what_differs_first(reader: Reader):
    reader.open("/compare?by=policies&one=unanimous&other=any_denial")
    told = "come to another state under any_denial@1 than under unanimous@1"
    expect(reader.page.locator("main")).to_contain_text(told)
    rows = reader.page.locator("table.compared tbody tr")
    differs = [row.locator(".chip").all_text_contents() for row in rows.all()]
    unlike = [len(set(each)) > 1 for each in differs]
    assert unlike == sorted(unlike, reverse=True)
    assert any(unlike)


# --- the log ----------------------------------------------------------------------


def test_the_log_shows_the_events_newest_first(reader: Reader):
    reader.open("/log")
    assert reader.page.locator("table.log tbody th").all_inner_texts() == ["5", "4", "3", "2", "1"]


def test_the_slider_goes_through_time(reader: Reader):
    reader.open("/log")
    slider = reader.page.get_by_role("slider", name="Through time")
    slider.focus()
    for _ in range(2):
        reader.page.keyboard.press("ArrowLeft")
    expect(region(reader, "Time and policy")).to_contain_text("As of position 3")
    expect(reader.page.locator("table.log tbody tr")).to_have_count(3)
    reader.page.keyboard.press("End")
    expect(region(reader, "Time and policy")).to_contain_text("Live")


def test_an_event_is_shown_to_the_byte(reader: Reader):
    reader.open("/log/1")
    content = region(reader, "JSON").text_content() or ""
    reader.page.evaluate("(text) => { globalThis.shown = new TextEncoder().encode(text); }", content)
    digest = "crypto.subtle.digest('SHA-256', shown).then((hash) => new Uint8Array(hash).toHex())"
    expect(region(reader, "Content")).to_contain_text(reader.page.evaluate(digest))


def test_a_proof_is_checked_in_the_browser_and_asks_nobody(reader: Reader):
    reader.open("/log/2")
    reader.rests()
    before = len(reader.asked)
    reader.page.get_by_role("button", name="Check the proof in this browser").click()
    result = region(reader, "Proof").get_by_role("status")
    expect(result).to_contain_text("Checked in your browser: event 2 is in the log that was signed.")
    for step in ("Content", "Leaf", "Path", "Signature"):
        expect(result).to_contain_text(f"{step} passed")
    assert len(reader.asked) == before


@pytest.mark.parametrize("what", ["payload", "path", "leaf"])
def test_a_proof_that_was_tampered_with_fails_for_all_to_see(what: str, reader: Reader):
    def tamper(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        event = body["data"]["event"]
        if what == "payload":
            event["payload"]["article"]["published_at"] = "2022-02-14"
        elif what == "leaf":
            event["leaf"] = event["leaf"].replace('"actor":"cli', '"actor":"CLI')
        else:
            hashes = event["inclusionProof"]["hashes"]
            hashes[0] = ("1" if hashes[0][0] == "0" else "0") + hashes[0][1:]
        route.fulfill(response=answer, json=body)

    reader.page.route("**/graphql?query=query*", tamper)
    reader.open("/log/2")
    reader.page.get_by_role("button", name="Check the proof in this browser").click()
    result = region(reader, "Proof").get_by_role("status")
    expect(result).to_contain_text("Not proven: what is shown here is not what was signed.")
    expect(result).to_contain_text("failed")
    expect(result).not_to_contain_text("Checked in your browser")


# --- dates ------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/St_Johns"])
def test_times_are_in_the_readers_zone_and_utc_where_the_pointer_rests(
    zone: str, enter: Enter, seeded_service: Service
):
    reader = enter(seeded_service, timezone_id=zone)
    reader.open("/")
    shown = region(reader, "Time and policy").locator("time")
    at = datetime.fromisoformat(shown.get_attribute("datetime") or "")
    local = at.astimezone(ZoneInfo(zone))
    assert shown.inner_text() == f"{local.day} {local:%b %Y, %H:%M}"
    assert shown.get_attribute("title") == f"{at.astimezone(ZoneInfo('UTC')):%Y-%m-%d %H:%M:%S} UTC"


def test_a_date_without_a_time_is_the_same_everywhere(enter: Enter, seeded_service: Service):
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):
        reader = enter(seeded_service, timezone_id=zone)
        reader.open("/article?url=urn:seed:003_78960176f7a9f587")
        expect(reader.page.locator("main time").first).to_have_text("15 Feb 2022")


# --- GraphiQL ---------------------------------------------------------------------


def test_graphiql_runs_its_examples_and_needs_no_other_host(reader: Reader):
    reader.page.goto(f"{reader.address}/graphql")
    run = reader.page.get_by_role("button", name=re.compile("Execute query", re.IGNORECASE))
    run.click()
    expect(reader.page.locator(".result-window")).to_contain_text("byState")
