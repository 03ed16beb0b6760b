"""The explorer while the record grows, and on records that are large or strange, in a real browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from service.domain.article import Article
from tests.builders import article, asserts, denies, retraction, url, withholds
from tests.explorer import NARROW, WIDE, Enter, Reader, Written
from tests.explorer import browser as browser
from tests.explorer import enter as enter
from tests.explorer import written as written
from tests.processes import start as start
from tests.processes import start_anywhere as start_anywhere

#: More would make a page slow to show and to read.
NODES_MAX = 5_000


def rows(reader: Reader) -> list[str]:
    """The propositions in the table of claims."""
    return reader.page.locator("table.claims a.proposition").all_inner_texts()


def news(reader: Reader, events: str) -> None:
    """Waits for the announcement, and has what is new shown."""
    reader.page.get_by_role("button", name=f"{events}: show").click()


# --- live -------------------------------------------------------------------------


def test_new_events_announce_themselves_and_move_nothing(written: Written, enter: Enter):
    written.record(article(nato=[asserts(f"claim-{number}") for number in range(20)]))
    reader = enter(written.service)
    for window in (WIDE, NARROW):
        reader.page.set_viewport_size(window)
        reader.open("/")
        reader.page.mouse.wheel(0, 200)
        reader.page.wait_for_function("scrollY > 0")
        where = "[...document.querySelectorAll('main *')].map((each) => each.getBoundingClientRect().top)"
        before = reader.page.evaluate(where)
        written.record(article(russia=denies(f"late-{window['width']}")))
        told = reader.page.get_by_role("status").get_by_role("button", name="1 new event: show")
        expect(told).to_be_attached()
        assert reader.page.evaluate(where) == before
        assert f"Late {window['width']}." not in rows(reader)
        told.click()
        expect(reader.page.locator("table.claims a.proposition").first).to_have_text(f"Late {window['width']}.")
        expect(told).not_to_be_attached()


def test_several_new_events_are_counted(written: Written, enter: Enter):
    reader = enter(written.service)
    reader.open("/")
    expect(reader.page.locator("main")).to_contain_text("Nothing is on record yet.")
    written.record(*(article(nato=asserts(f"claim-{number}")) for number in range(3)))
    news(reader, "3 new events")
    expect(reader.page.locator("table.claims tbody tr")).to_have_count(3)


def test_the_past_is_told_of_nothing_new(written: Written, enter: Enter):
    written.record(article(nato=asserts("x")), article(nato=asserts("y")))
    reader = enter(written.service)
    reader.open("/?at=1")
    reader.rests()
    assert not [each for each in reader.asked if each.resource_type == "eventsource"]


def test_a_page_outlives_a_restart_and_misses_nothing(written: Written, enter: Enter):
    written.record(article(nato=asserts("before")))
    reader = enter(written.service)
    reader.open("/")
    bar = reader.page.get_by_role("region", name="Time and policy")
    written.service.stop()
    expect(bar).to_contain_text("Not connected")
    # Recorded by somebody else meanwhile, and projected once the service is back.
    written.append(article(nato=asserts("meanwhile")))
    written.service.begin()
    written.record(article(nato=asserts("after")))
    news(reader, "2 new events")
    expect(reader.page.locator("table.claims tbody tr")).to_have_count(3)
    assert rows(reader) == ["After.", "Meanwhile.", "Before."]
    assert all("ERR_" in fault for fault in reader.faults)
    reader.faults.clear()


def test_a_service_that_does_not_answer_is_told_and_tried_again(written: Written, enter: Enter):
    written.record(article(nato=asserts("x")))
    reader = enter(written.service)
    reader.open("/")
    written.service.stop()
    reader.page.get_by_role("link", name="Log").click()
    alert = reader.page.get_by_role("alert")
    expect(alert).to_contain_text("This cannot be shown")
    expect(alert).to_contain_text("UNREACHABLE")
    written.service.begin()
    reader.page.get_by_role("button", name="Try again").click()
    expect(reader.page.locator("table.log tbody tr")).to_have_count(1)
    assert all("ERR_" in fault for fault in reader.faults)
    reader.faults.clear()


# --- much -------------------------------------------------------------------------


def test_a_thousand_claims_come_page_by_page(written: Written, enter: Enter):
    written.record(article(nato=[asserts(f"claim-number-{number:04}") for number in range(1_000)]))
    reader = enter(written.service, viewport=NARROW)
    reader.open("/")
    expect(reader.page.locator("caption")).to_contain_text("1,000 claims")
    seen = [rows(reader)]
    for _ in range(2):
        reader.page.get_by_role("link", name="Older").click()
        expect(reader.page.get_by_text(seen[-1][0], exact=True)).not_to_be_attached()
        seen.append(rows(reader))
    assert len({claim for page in seen for claim in page}) == 3 * len(seen[0])
    reader.page.get_by_role("link", name="Newer").click()
    expect(reader.page.locator("table.claims a.proposition").first).to_have_text(seen[1][0])
    assert rows(reader) == seen[1]
    assert reader.nodes() <= NODES_MAX
    assert reader.overflow() <= 0


def test_a_claim_with_two_thousand_statements_comes_page_by_page(written: Written, enter: Enter):
    sides = {"asserting": asserts("x"), "denying": denies("x")}
    written.record(
        *(article(name, **{f"{name}_{number:03}": said for number in range(1_000)}) for name, said in sides.items())
    )
    reader = enter(written.service)
    for place in (
        "/claim/x",
        "/claim/x?axis=recorded",
        f"/article?url={url('asserting')}",
        "/compare?from=0",
        "/log/2",
    ):
        for window in (WIDE, NARROW):
            reader.page.set_viewport_size(window)
            reader.open(place)
            assert reader.nodes() <= NODES_MAX, place
            assert reader.overflow() <= 0, place
    reader.open("/claim/x")
    expect(reader.page.locator(".sentence")).to_have_text("Unverified: 1,000 assert, 1,000 deny.")
    statements = reader.page.get_by_role("region", name="All statements")
    first = statements.locator("article").first.inner_text()
    statements.get_by_role("link", name="Older").click()
    expect(statements.get_by_role("link", name="Newer")).to_be_visible()
    assert statements.locator("article").first.inner_text() != first


# --- strange ----------------------------------------------------------------------


def everywhere(reader: Reader, of: Article) -> Iterator[str]:
    """Opens every screen that shows something of the article, one after the other."""
    claim = of.claims[0]
    speaker = claim.statements[0].speaker
    assert speaker is not None
    for place in (
        "/",
        f"/claim/{claim.claim}",
        f"/speaker/{speaker.id}",
        f"/speaker/outlet:{of.outlet.id}",
        "/compare?from=0",
        "/compare?by=policies",
        "/log",
        "/log/1",
        "/log/1?content=indented",
    ):
        reader.open(place)
        yield place
    reader.page.goto("about:blank")
    reader.open("/log/1")
    reader.page.locator("main a[href^='/article']").first.click()
    expect(reader.page.get_by_role("heading", name="Revisions")).to_be_visible()
    yield "/article"


def strange(text: str, *, address: str = "https://example.org/strange", word: str | None = None) -> Article:
    """An article in which every field that holds words of others holds `text`."""
    said = asserts("strange", quote=text)
    made = article("strange", nato=said, itself=denies("strange", quote=text)).model_dump(mode="json")
    made["url"] = address
    made["headline"] = made["outlet"]["name"] = text
    for claim in made["claims"]:
        claim["proposition"] = text
        for statement in claim["statements"]:
            if statement["speaker"]:
                statement["speaker"] |= {"name": text, "role": text, "organisation": text}
    return Article.model_validate(made)


def test_script_is_shown_as_text_wherever_it_stands(written: Written, enter: Enter):
    evil = "<script>ran = 1</script><img src=x onerror='ran = 1'>&amp;</title>\" onfocus=\"ran = 1"
    made = strange(evil, address="javascript:ran=1")
    written.record(made)
    reader = enter(written.service)
    for place in everywhere(reader, made):
        assert evil in reader.page.locator("main").inner_text() or "indented" in place, place
        assert reader.page.evaluate("typeof ran") == "undefined", place
        assert reader.page.locator("a[href^='javascript:'], main img, main script").count() == 0, place


@pytest.mark.parametrize(
    "text",
    [
        "أعلنت وزارة الدفاع الروسية أن بعض القوات بدأت بالعودة إلى قواعدها 2022",
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3,
        "many words " * 30,
    ],
    ids=["right to left", "one long word", "many words"],
)
def test_no_text_is_too_strange_for_the_window(text: str, written: Written, enter: Enter):
    made = strange(text.strip(), address="https://example.org/" + "long-" * 100)
    written.record(made)
    reader = enter(written.service)
    for place in everywhere(reader, made):
        for window in (NARROW, WIDE):
            reader.page.set_viewport_size(window)
            assert reader.overflow() <= 0, f"{place} at {window['width']} px"


def test_what_is_written_from_right_to_left_is_read_so(written: Written, enter: Enter):
    made = strange("هل بدأت القوات بالانسحاب؟ 15 February")
    written.record(made)
    reader = enter(written.service)
    for place in ("/", "/claim/strange", "/speaker/nato", "/log/1"):
        reader.open(place)
        shown = reader.page.locator("h1, a.proposition", has_text="هل بدأت القوات").first
        assert shown.evaluate("(each) => getComputedStyle(each).direction") == "rtl", place


# --- articles ---------------------------------------------------------------------


def test_quotes_are_marked_in_the_text_where_it_is_held(written: Written, enter: Enter):
    text = "🜁 On Tuesday they said the bridge opens. Others said it never will."
    written.record(
        article(
            "bridge",
            text=text,
            mayor=asserts("bridge-opens", quote="the bridge opens"),
            others=denies("bridge-opens", quote="it never will"),
        )
    )
    reader = enter(written.service)
    reader.open(f"/article?url={url('bridge')}")
    prose = reader.page.get_by_role("region", name="Text").locator(".prose")
    assert prose.locator("mark").evaluate_all("(marks) => marks.map((mark) => mark.firstChild.textContent)") == [
        "the bridge opens",
        "it never will",
    ]
    assert reader.violations() == []


def test_an_article_shows_what_each_revision_changed_and_that_it_was_retracted(written: Written, enter: Enter):
    written.record(
        article("bridge", mayor=asserts("bridge-opens"), others=asserts("bridge-opens")),
        article("bridge", revision=2, change="outlet", mayor=withholds("bridge-opens"), critic=denies("bridge-opens")),
    )
    reader = enter(written.service)
    reader.open(f"/article?url={url('bridge')}")
    revisions = reader.page.get_by_role("region", name="Revisions")
    expect(revisions.get_by_role("heading", name=re.compile("Revision 2"))).to_be_visible()
    changes = revisions.locator("li.change").all_inner_texts()
    assert sorted(re.split(r"\s+", each)[1] for each in changes) == ["added", "changed", "dropped"]
    written.record(retraction("bridge"))
    news(reader, "1 new event")
    expect(reader.page.locator("main")).to_contain_text("It was made up.")
    assert reader.violations() == []


# --- nothing ----------------------------------------------------------------------


def test_an_empty_record_says_what_to_do(written: Written, enter: Enter):
    reader = enter(written.service)
    for place in ("/", "/compare", "/compare?by=policies", "/log"):
        reader.open(place)
        expect(reader.page.locator(".state")).to_be_visible()
        assert reader.violations() == [], place
    reader.open("/?after=rubbish")
    expect(reader.page.get_by_role("alert")).to_contain_text("BAD_CURSOR")
    assert reader.violations() == []


def test_no_script_runs_that_a_page_brings_itself(written: Written, enter: Enter):
    reader = enter(written.service)
    reader.open("/")
    reader.page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'globalThis.ran = 1';
            document.body.append(script);
        }"""
    )
    assert reader.page.evaluate("typeof ran") == "undefined"
    assert any("Content Security Policy" in fault for fault in reader.faults)
    reader.faults.clear()
