"""A plot of cost against size, as an SVG that needs nothing to be looked at."""

import math
from collections.abc import Mapping
from typing import Final

_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 220, 20, 50
_COLOURS: Final = ("#1f6f8b", "#c8553d", "#588157", "#7b4b94", "#b8860b", "#444444")


def svg(costs: Mapping[str, Mapping[int, float]]) -> str:
    """Lines of milliseconds a unit by number of claims, on logarithmic scales."""
    sizes = sorted({size for line in costs.values() for size in line})
    values = [cost for line in costs.values() for cost in line.values()]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    across = math.log10(sizes[-1] / sizes[0]) or 1

    def x(size: float) -> float:
        return _LEFT + math.log10(size / sizes[0]) / across * (_WIDTH - _LEFT - _RIGHT)

    def y(cost: float) -> float:
        return _TOP + (high - math.log10(cost)) / ((high - low) or 1) * (_HEIGHT - _TOP - _BOTTOM)

    def text(at_x: float, at_y: float, said: str, more: str = "") -> str:
        return f'<text font-family="sans-serif" font-size="12" x="{at_x:.1f}" y="{at_y:.1f}" {more}>{said}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">',
        "<title>Cost against size</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for power in range(low, high + 1):
        at = y(10**power)
        parts.append(f'<line x1="{_LEFT}" y1="{at:.1f}" x2="{_WIDTH - _RIGHT}" y2="{at:.1f}" stroke="#dddddd"/>')
        parts.append(text(_LEFT - 8, at + 4, f"{10.0**power:g} ms", 'text-anchor="end"'))
    parts += [text(x(size), _HEIGHT - _BOTTOM + 20, f"{size:,}", 'text-anchor="middle"') for size in sizes]
    parts.append(text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, "claims", 'text-anchor="middle"'))
    # Names stand at the end of their lines, moved apart where two would cover each other.
    below = -math.inf
    for number, (name, line) in enumerate(sorted(costs.items(), key=lambda each: -each[1][max(each[1])])):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{x(size):.1f},{y(line[size]):.1f}" for size in sorted(line))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(size):.1f}" cy="{y(line[size]):.1f}" r="3" fill="{colour}"/>' for size in line]
        below = max(y(line[max(line)]) + 4, below + 15)
        parts.append(text(_WIDTH - _RIGHT + 12, below, name, f'fill="{colour}"'))
    return "\n".join([*parts, "</svg>", ""])
