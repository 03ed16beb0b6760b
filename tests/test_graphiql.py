"""GraphiQL at `/graphql`: for browsers, and only for them."""

import re

import httpx
import pytest
from graphql import parse, validate

from service.api.schema import graphql_schema
from tests.api import Api
from tests.api import seeded as seeded
from tests.api import served as served
from tests.web import run

#: What browsers send when somebody goes to a page.
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
EXAMPLES: list[str] = run("examples.js", "return module.EXAMPLES;")


def page(api: Api) -> httpx.Response:
    return api.send("GET", headers=BROWSER)


def test_a_browser_gets_graphiql(api: Api) -> None:
    response = page(api)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "GraphiQL" in response.text
    assert "Accept" in response.headers["vary"].split(", ")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/graphql-response+json, application/json"])
def test_a_program_does_not(api: Api, accept: str) -> None:
    assert "text/html" not in api.send("GET", headers={"accept": accept}).headers["content-type"]


def test_a_query_in_the_address_is_answered_to_anybody(api: Api) -> None:
    api.project()
    response = api.send("GET", headers=BROWSER, params={"query": "{ claims { totalCount } }"})
    assert response.json()["data"] == {"claims": {"totalCount": 0}}


def test_it_asks_no_other_host_and_runs_no_inline_script(api: Api) -> None:
    response = page(api)
    policy = dict(each.split(" ", 1) for each in response.headers["content-security-policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    assert policy["style-src"] == "'self'"
    assert re.findall(r"<(?:script|style)(?![^>]*\ssrc=)[^>]*>| style=| on\w+=", response.text) == []
    named = re.findall(r'(?:src|href)="([^"]*)"', response.text)
    assert len(named) > 4
    assert all(each.startswith("/web/") for each in named)


def test_all_that_it_needs_is_served_and_compressed(api: Api) -> None:
    for path in re.findall(r'(?:src|href)="([^"]*)"', page(api).text):
        response = api.send("GET", path=path, headers={"accept-encoding": "gzip"})
        assert (response.status_code, response.headers.get("content-encoding")) == (200, "gzip"), path


def test_the_examples_are_of_this_schema() -> None:
    assert len(EXAMPLES) == 6
    assert [validate(graphql_schema, parse(each)) for each in EXAMPLES] == [[]] * len(EXAMPLES)


@pytest.mark.parametrize("example", [each for each in EXAMPLES if "subscription " not in each])
def test_an_example_is_answered(seeded: Api, example: str) -> None:
    assert seeded.ask(example)
