"""What a stranger may take: how much one request may ask for, and how much of it there may be at once."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits, each a setting of the same name, which says what it means."""

    body_bytes_max: int = 8 * 1024 * 1024
    tokens_max: int = 2_000
    depth_max: int = 30
    aliases_max: int = 200
    directives_max: int = 100
    root_fields_max: int = 20
    cost_max: int = 250_000
    request_s_max: float = 10
    subscriptions_max: int = 100
    connections_max: int = 1_000
    requests_per_s_max: float = 100
    requests_burst_max: int = 1_000
    introspection: bool = True
    suggestions: bool = True


DEFAULTS: Final = Limits()
