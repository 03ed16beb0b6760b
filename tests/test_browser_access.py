"""The explorer of a record that asks for a token, in a real browser."""

import pytest
from playwright.sync_api import expect
from sqlalchemy import Engine

from service.domain.scopes import Scope
from tests.builders import article, asserts, denies
from tests.explorer import Enter, Reader, Service, Written
from tests.explorer import browser as browser
from tests.explorer import enter as enter
from tests.processes import Start
from tests.processes import start as start
from tests.processes import start_anywhere as start_anywhere
from tests.test_tokens import make


@pytest.fixture
def closed(start: Start, engine: Engine) -> Written:
    def starting(*args: str):
        return start(*args, without_token="nothing")

    return Written(Service(starting), engine)


def refused(reader: Reader) -> None:
    """A browser reports each answer of status 401."""
    assert all("401" in fault for fault in reader.faults), reader.faults
    reader.faults.clear()


def test_the_explorer_asks_for_a_token_and_follows_the_record_with_it(
    closed: Written, enter: Enter, owner_engine: Engine
) -> None:
    token = make(owner_engine, "reader", Scope.READ)
    closed.record(article("a", nato=asserts("x")))
    reader = enter(closed.service)
    reader.open("/")
    page = reader.page
    expect(page.get_by_role("alert")).to_contain_text("This record asks for a token")
    assert reader.violations() == []
    page.get_by_label("Token").fill("onrecord_reader_wrong")
    page.get_by_role("button", name="Read with it").click()
    expect(page.get_by_role("alert")).to_contain_text("is no token in force")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Read with it").click()
    expect(page.locator("table.claims a.proposition")).to_have_text(["X."])
    refused(reader)
    closed.record(article("b", nato=denies("y")))
    page.get_by_role("status").get_by_role("button", name="1 new event: show").click()
    expect(page.locator("table.claims tbody tr")).to_have_count(2)
    assert not [each for each in reader.asked if token in each.url]
    # GraphiQL reads with it too; another tab does not.
    page.goto(f"{reader.address}/graphql")
    expect(page.get_by_role("button", name="Show Documentation Explorer")).to_be_visible()
    other = page.context.new_page()
    other.goto(reader.address)
    expect(other.get_by_label("Token")).to_be_visible()
