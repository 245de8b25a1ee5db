"""
Charts as SVG: bars, one for each engine, with its figure; and lines, for what grows.
They follow the reader's light or dark look, and need no font, script or style from
outside.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LABELS, FIGURES = 760, 330, 110
ROW, BAR, TOP = 26, 16, 44
#: Of a chart with lines: where they are drawn, and how high a label is.
LEFT, RIGHT, TALL, LABEL = 64, 160, 240, 17

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.note { fill: #59636e; font-size: 12px }
.bar { fill: #8c959f } .mine { fill: #0969da } .floor { fill: #d0d7de }
.spread { stroke: #1f2328; stroke-width: 1.5 }
.grid { stroke: #d0d7de } .line { fill: none; stroke: #8c959f; stroke-width: 2 }
.line.mine { stroke: #0969da } .dashed { stroke-dasharray: 6 4 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .note { fill: #9198a1 }
  .bar { fill: #656c76 } .mine { fill: #4493f8 } .floor { fill: #3d444d }
  .spread { stroke: #f0f6fc }
  .grid { stroke: #3d444d } .line { stroke: #656c76 } .line.mine { stroke: #4493f8 }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    value: float
    shown: str
    #: "mine", "floor" or nothing.
    kind: str = ""
    low: float | None = None
    high: float | None = None


def bars(title: str, note: str, rows: Sequence[Bar]) -> str:
    """Return the SVG document. Bars begin at zero, so their lengths can be compared."""
    height = TOP + ROW * len(rows) + 14
    longest = max((row.high or row.value for row in rows), default=0) or 1
    scale = (WIDTH - LABELS - FIGURES) / longest
    parts = []
    for number, row in enumerate(rows):
        parts += _row(row, TOP + ROW * number, scale)
    return _document(title, note, height, parts)


def _document(title: str, note: str, height: float, parts: Sequence[str]) -> str:
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{_quoted(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="0" y="16">{escape(title)}</text>',
        f'<text class="note" x="0" y="34">{escape(note)}</text>',
    ]
    return "\n".join([*head, *parts, "</svg>", ""])


def _row(row: Bar, top: float, scale: float) -> list[str]:
    middle = top + ROW / 2
    length = row.value * scale
    end = max(length, (row.high or 0) * scale)
    parts = [
        f'<text x="{LABELS - 8}" y="{middle + 4:.1f}" text-anchor="end">'
        f"{escape(row.label)}</text>",
        f'<rect class="bar {row.kind}" x="{LABELS}" y="{middle - BAR / 2:.1f}" '
        f'width="{length:.1f}" height="{BAR}" rx="2"/>',
        f'<text x="{LABELS + end + 8:.1f}" y="{middle + 4:.1f}">'
        f"{escape(row.shown)}</text>",
    ]
    if row.low is not None and row.high is not None:
        left, right = LABELS + row.low * scale, LABELS + row.high * scale
        parts.append(f'<path class="spread" d="M{left:.1f} {middle:.1f}H{right:.1f}"/>')
    return parts


def _quoted(text: str) -> str:
    return escape(text, {'"': "&quot;"})


# Lines


@dataclass(frozen=True, slots=True)
class Line:
    label: str
    points: Sequence[tuple[float, float]]
    mine: bool = False
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """What stands at which place, from the start to the end of the axis."""

    ticks: Mapping[float, str]
    #: Equal steps are equal factors then.
    logarithmic: bool = False

    def part(self, value: float) -> float:
        """Return where this value is: 0 at the start, 1 at the end."""
        low, high = min(self.ticks), max(self.ticks)
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)


def from_zero(lines: Sequence[Line], shown: Callable[[float], str]) -> Axis:
    """Return an axis for these that begins at zero, so heights can be compared."""
    highest = max(y for line in lines for _, y in line.points)
    power = 10 ** math.floor(math.log10(highest))
    # Not more than six of them.
    step = next(
        step * power for step in (0.2, 0.5, 1, 2) if highest <= 5 * step * power
    )
    count = math.ceil(highest / step)
    return Axis({step * n: shown(step * n) for n in range(count + 1)})


def in_powers(lines: Sequence[Line], shown: Callable[[float], str]) -> Axis:
    """Return an axis for these in powers of ten."""
    values = [y for line in lines for _, y in line.points]
    low = math.floor(math.log10(min(values)))
    high = math.ceil(math.log10(max(values)))
    powers = [10.0**power for power in range(low, max(high, low + 1) + 1)]
    return Axis({power: shown(power) for power in powers}, logarithmic=True)


def lines(title: str, note: str, across: Axis, up: Axis, drawn: Sequence[Line]) -> str:
    """Return the SVG document. Each line has its label at its end."""

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + across.part(x) * (WIDTH - LEFT - RIGHT),
            TOP + 12 + (1 - up.part(y)) * TALL,
        )

    bottom = TOP + 12 + TALL
    parts = []
    for value, shown in up.ticks.items():
        _, y = place(min(across.ticks), value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text class="note" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{escape(shown)}</text>"
        )
    for value, shown in across.ticks.items():
        x, _ = place(value, min(up.ticks))
        parts.append(
            f'<text class="note" x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">'
            f"{escape(shown)}</text>"
        )
    for line in drawn:
        path = "L".join(
            f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in line.points)
        )
        kind = "line" + " mine" * line.mine + " dashed" * line.dashed
        parts.append(f'<path class="{kind}" d="M{path}"/>')
    ends = {line.label: place(*line.points[-1]) for line in drawn}
    for label, y in _apart({label: y for label, (_, y) in ends.items()}):
        x = ends[label][0] + 10
        parts.append(f'<text x="{x:.1f}" y="{y + 4:.1f}">{escape(label)}</text>')
    return _document(title, note, bottom + 34, parts)


def _apart(heights: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield labels with their heights, none over another."""
    above = -math.inf
    for label, height in sorted(heights.items(), key=lambda item: item[1]):
        above = max(height, above + LABEL)
        yield label, above
