"""Policies: the named, versioned, pure rules from standing statements to a state.

The rule of a version never changes; another rule is another version, since an
old belief must come out the same whenever it is derived again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from service.domain.article import Stance
from service.domain.errors import PolicyInvalid


class State(StrEnum):
    """What a policy makes of a claim. `asserted` means asserted and uncontradicted, never true."""

    ASSERTED = "asserted"
    DENIED = "denied"
    UNVERIFIED = "unverified"


class Reason(StrEnum):
    """Why a policy gives a claim its state."""

    RETRACTED = "RETRACTED"  #: it had statements, none is live.
    ONLY_WITHHELD = "ONLY_WITHHELD"  #: nobody takes a side.
    CONFLICT = "CONFLICT"  #: some assert, some deny.
    TOO_FEW_SPEAKERS = "TOO_FEW_SPEAKERS"  #: fewer than the policy asks for.
    OUTWEIGHED_BY_DOUBT = "OUTWEIGHED_BY_DOUBT"  #: too many withhold for those who take a side.
    UNCORROBORATED = "UNCORROBORATED"  #: those who take a side come from fewer than two blocs.
    UNCONTRADICTED = "UNCONTRADICTED"  #: all who take a side take the same.
    TIED = "TIED"  #: as many assert as deny.
    OUTVOTED = "OUTVOTED"  #: the larger side decides.
    LATEST_WORD = "LATEST_WORD"  #: what was said last decides.
    DENIED_BY_ANY = "DENIED_BY_ANY"  #: one denial is enough.
    RULED = "RULED"  #: an editor set it, whatever the policy says.


class Verdict(NamedTuple):
    """A state and why."""

    state: State
    reason: Reason


class Tally(NamedTuple):
    """All that a policy may know of a claim: its standing statements, counted."""

    asserting: int = 0  #: how many speakers stand at asserts.
    denying: int = 0
    withholding: int = 0
    asserting_blocs: int = 0  #: from how many blocs they come; no bloc and an outlet's own voice: not counted.
    denying_blocs: int = 0
    latest: Stance | None = None  #: of the standing statements that take a side, the stance of the latest.


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule with its parameters. Two with one `id` give the same verdict on every tally."""

    id: str  #: `name@version`, then the parameters that are no defaults: `unanimous@1:min_speakers=2`.
    name: str
    version: int
    parameters: Mapping[str, Decimal]
    rule: Callable[[Tally, Mapping[str, Decimal]], Verdict]
    #: The state of a claim with a tally, and why. Total: every tally has a verdict. Remembered, as the
    #: tally after one event is the one before the next, and most claims have few speakers.
    decide: Callable[[Tally], Verdict] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decide", lru_cache(maxsize=10_000)(self._decide))

    def _decide(self, tally: Tally) -> Verdict:
        if tally.asserting == tally.denying == 0:
            if tally.withholding == 0:
                return Verdict(State.UNVERIFIED, Reason.RETRACTED)
            return Verdict(State.UNVERIFIED, Reason.ONLY_WITHHELD)
        return self.rule(tally, self.parameters)


def _unanimous(tally: Tally, parameters: Mapping[str, Decimal]) -> Verdict:
    """One dissenting speaker is enough to leave a claim unverified."""
    if tally.asserting and tally.denying:
        return Verdict(State.UNVERIFIED, Reason.CONFLICT)
    deciding = tally.asserting + tally.denying
    if deciding < parameters["min_speakers"]:
        return Verdict(State.UNVERIFIED, Reason.TOO_FEW_SPEAKERS)
    if deciding < parameters["hedge_ratio"] * tally.withholding:
        return Verdict(State.UNVERIFIED, Reason.OUTWEIGHED_BY_DOUBT)
    return Verdict(State.ASSERTED if tally.asserting else State.DENIED, Reason.UNCONTRADICTED)


def _corroborated(tally: Tally, parameters: Mapping[str, Decimal]) -> Verdict:
    """Unanimous, and from at least two blocs: one interested side alone does not carry a claim."""
    verdict = _unanimous(tally, parameters)
    if verdict.reason is not Reason.UNCONTRADICTED:
        return verdict
    # Only one side has speakers here, so only one of the two counts is not zero.
    if tally.asserting_blocs + tally.denying_blocs < 2:
        return Verdict(State.UNVERIFIED, Reason.UNCORROBORATED)
    return verdict


def _majority(tally: Tally, parameters: Mapping[str, Decimal]) -> Verdict:
    """The side with more speakers."""
    if tally.asserting == tally.denying:
        return Verdict(State.UNVERIFIED, Reason.TIED)
    state = State.ASSERTED if tally.asserting > tally.denying else State.DENIED
    one_sided = tally.asserting == 0 or tally.denying == 0
    return Verdict(state, Reason.UNCONTRADICTED if one_sided else Reason.OUTVOTED)


def _latest(tally: Tally, parameters: Mapping[str, Decimal]) -> Verdict:
    """Who took a side last."""
    state = State.ASSERTED if tally.latest is Stance.ASSERTS else State.DENIED
    one_sided = tally.asserting == 0 or tally.denying == 0
    return Verdict(state, Reason.UNCONTRADICTED if one_sided else Reason.LATEST_WORD)


def _any_denial(tally: Tally, parameters: Mapping[str, Decimal]) -> Verdict:
    """One denial outweighs any number of assertions."""
    if tally.denying == 0:
        return Verdict(State.ASSERTED, Reason.UNCONTRADICTED)
    return Verdict(State.DENIED, Reason.UNCONTRADICTED if tally.asserting == 0 else Reason.DENIED_BY_ANY)


_STRICTNESS: Final = {"min_speakers": Decimal(1), "hedge_ratio": Decimal(0)}

#: Every version of every rule, with its parameters and their defaults.
_RULES: Final[
    Mapping[tuple[str, int], tuple[Callable[[Tally, Mapping[str, Decimal]], Verdict], Mapping[str, Decimal]]]
] = {
    ("unanimous", 1): (_unanimous, _STRICTNESS),
    ("corroborated", 1): (_corroborated, _STRICTNESS),
    ("majority", 1): (_majority, {}),
    ("latest", 1): (_latest, {}),
    ("any_denial", 1): (_any_denial, {}),
}
#: What a name means where no version is given.
_CURRENT: Final = {"unanimous": 1, "corroborated": 1, "majority": 1, "latest": 1, "any_denial": 1}
NAMES: Final = tuple(_CURRENT)

#: In force from position 0, until another is adopted.
DEFAULT: Final = "unanimous@1"

_ID = re.compile(r"([a-z_]+)(?:@(\d{1,6}))?(?::(.+))?", re.ASCII)
_NUMBER = re.compile(r"\d{1,6}(?:\.\d{1,6})?", re.ASCII)


@lru_cache(maxsize=256)
def policy(id: str) -> Policy:
    """The policy that `id` means, however it is spelled.

    Raises PolicyInvalid, saying what is wrong and what there is.

    >>> policy("unanimous:min_speakers=1").id
    'unanimous@1'
    >>> policy("unanimous:min_speakers=2,hedge_ratio=1.0").id
    'unanimous@1:hedge_ratio=1,min_speakers=2'
    """
    found = _ID.fullmatch(id)
    if found is None:
        raise PolicyInvalid(id, f"write a name, such as {DEFAULT} or unanimous:min_speakers=2")
    name, version_text, parameters_text = found.groups()
    if name not in _CURRENT:
        raise PolicyInvalid(id, f"the policies are {', '.join(NAMES)}")
    version = int(version_text) if version_text else _CURRENT[name]
    if (name, version) not in _RULES:
        raise PolicyInvalid(id, f"{name} has no version {version}")
    rule, defaults = _RULES[name, version]
    parameters = dict(defaults)
    given: set[str] = set()
    for part in parameters_text.split(",") if parameters_text else ():
        key, _, value = part.partition("=")
        if key not in defaults:
            known = f"its parameters are {', '.join(sorted(defaults))}" if defaults else "it has no parameters"
            raise PolicyInvalid(id, f"{name} has no parameter {key!r}; {known}")
        if key in given:
            raise PolicyInvalid(id, f"{key} is given twice")
        given.add(key)
        parameters[key] = _number(id, key, value)
    changed = sorted((key, value) for key, value in parameters.items() if value != defaults[key])
    canonical = f"{name}@{version}" + (":" if changed else "")
    canonical += ",".join(f"{key}={value.normalize():f}" for key, value in changed)
    return Policy(canonical, name, version, parameters, rule)


def _number(id: str, key: str, text: str) -> Decimal:
    try:
        value = Decimal(text) if _NUMBER.fullmatch(text) else Decimal("NaN")
    except InvalidOperation:  # pragma: no cover - the pattern lets only numbers through
        value = Decimal("NaN")
    if value.is_nan():
        raise PolicyInvalid(id, f"{key} must be a number such as 2 or 0.5, not {text!r}")
    if key == "min_speakers" and (value < 1 or value != value.to_integral_value()):
        raise PolicyInvalid(id, f"{key} must be a whole number from 1, not {text!r}")
    return value
