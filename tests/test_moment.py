"""Moments: which are taken, how they are kept, when they end."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import moment
from tests import builders  # noqa: F401 - the profile of Hypothesis


@pytest.mark.parametrize("date", ["2022-02-15", "1000-01-01", "2999-12-31", "2024-02-29"])
def test_a_date_is_kept_as_it_is(date: str):
    assert moment.canonical(date) == date


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2022-02-15T18:00:00Z", "2022-02-15T18:00:00Z"),
        ("2022-02-15T18:00:00+00:00", "2022-02-15T18:00:00Z"),
        ("2022-02-15T18:00:00-00:00", "2022-02-15T18:00:00Z"),
        ("2022-02-15T19:30:00+01:30", "2022-02-15T18:00:00Z"),
        ("2022-02-15T23:00:00-08:00", "2022-02-16T07:00:00Z"),
        ("2022-02-15T18:00:00.000Z", "2022-02-15T18:00:00Z"),
        ("2022-02-15T18:00:00.5Z", "2022-02-15T18:00:00.5Z"),
        ("2022-02-15T18:00:00.000001Z", "2022-02-15T18:00:00.000001Z"),
        ("2022-02-15T18:00:00.120000000Z", "2022-02-15T18:00:00.12Z"),
        ("2022-02-15T18:00:10Z", "2022-02-15T18:00:10Z"),
        ("2999-12-31T23:59:59.999999Z", "2999-12-31T23:59:59.999999Z"),
        ("1000-01-01T00:00:00Z", "1000-01-01T00:00:00Z"),
    ],
)
def test_an_instant_is_kept_in_utc_without_needless_decimals(sent: str, kept: str):
    assert moment.canonical(sent) == kept


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "2022",
        "2022-02",
        "20220215",
        "2022-W07-2",
        "15.02.2022",
        "2022-2-15",
        " 2022-02-15",
        "2022-02-15\n",
        "2022-02-15T18",
        "2022-02-15T18:00Z",
        "2022-02-15 18:00:00Z",
        "2022-02-15t18:00:00z",
        "2022-02-15T18:00:00,5Z",
        "2022-02-15T18:00:00.Z",
        "2022-02-15T18:00:00+0100",
        "2022-02-15T18:00:00Z\n",
        "٢٠٢٢-٠٢-١٥",
        "2022-02-15T18:00:0٠Z",
        "-2022-02-15",
        "+12022-02-15",
        "1644948000",
    ],
)
def test_what_is_no_moment_is_refused(sent: str):
    with pytest.raises(ValueError, match='is not a moment; write a date, "2022-02-15", or an instant'):
        moment.canonical(sent)


@pytest.mark.parametrize("sent", ["2022-02-15T18:00:00", "2022-02-15T18:00:00.5"])
def test_an_instant_needs_its_offset(sent: str):
    with pytest.raises(ValueError, match='add the offset from UTC, such as "Z" or "\\+02:00"'):
        moment.canonical(sent)


@pytest.mark.parametrize(
    "sent",
    [
        "2022-02-30",
        "2023-02-29",
        "2022-13-01",
        "2022-00-01",
        "2022-02-00",
        "0000-01-01",
        "2022-02-15T24:00:00Z",
        "2022-02-15T18:60:00Z",
        "2022-12-31T23:59:60Z",
        "2022-02-15T18:00:00+24:00",
    ],
)
def test_what_stands_on_no_calendar_and_no_clock_is_refused(sent: str):
    with pytest.raises(ValueError, match="does not exist in the calendar or on the clock"):
        moment.canonical(sent)


@pytest.mark.parametrize(
    "sent",
    [
        "0999-12-31",
        "3000-01-01",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1000-01-01T00:00:00+00:01",
        "2999-12-31T23:59:59-00:01",
        "0999-12-31T23:59:59-00:01",
    ],
)
def test_years_run_from_1000_to_2999_here_and_in_utc(sent: str):
    with pytest.raises(ValueError, match="has a year outside 1000 to 2999"):
        moment.canonical(sent)


def test_nothing_is_finer_than_a_microsecond():
    with pytest.raises(ValueError, match="is finer than a microsecond; send at most six decimals"):
        moment.canonical("2022-02-15T18:00:00.0000001Z")


def test_a_moment_of_a_megabyte_is_refused_for_it_would_stay_in_memory():
    with pytest.raises(ValueError, match="is not a moment"):
        moment.canonical("2022-02-15T18:00:00." + "0" * 1_000_000 + "Z")


def test_a_date_ends_with_its_last_microsecond_in_utc():
    assert moment.end("2022-02-15") == datetime(2022, 2, 15, 23, 59, 59, 999_999, tzinfo=UTC)
    assert moment.end("2999-12-31") == datetime(2999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def test_an_instant_ends_at_itself():
    assert moment.end("2022-02-15T18:00:00.5Z") == datetime(2022, 2, 15, 18, 0, 0, 500_000, tzinfo=UTC)


_instants = st.datetimes(
    datetime(1000, 1, 2),  # noqa: DTZ001 - Hypothesis adds the offset
    datetime(2999, 12, 30),  # noqa: DTZ001
    timezones=st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@given(_instants)
def test_no_instant_is_lost_or_moved_and_each_has_one_spelling(instant: datetime):
    kept = moment.canonical(instant.isoformat())
    assert moment.end(kept) == instant
    assert moment.canonical(kept) == kept
    assert moment.instant_text(instant) == kept
    assert kept.endswith("Z")


@given(_instants, _instants)
def test_ends_are_in_the_order_of_the_instants(one: datetime, other: datetime):
    ends = [moment.end(moment.canonical(each.isoformat())) for each in (one, other)]
    assert (ends[0] < ends[1]) == (one < other)
