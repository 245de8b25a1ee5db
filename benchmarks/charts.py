"""
Bar charts as SVG: a bar for each engine, with its figure. They follow the reader's
light or dark look, and need no font, script or style from outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LABELS, FIGURES = 760, 270, 150
ROW, BAR, TOP = 26, 16, 44

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.note { fill: #59636e; font-size: 12px }
.bar { fill: #8c959f } .mine { fill: #0969da } .floor { fill: #d0d7de }
.spread { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .note { fill: #9198a1 }
  .bar { fill: #656c76 } .mine { fill: #4493f8 } .floor { fill: #3d444d }
  .spread { stroke: #f0f6fc }
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
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{_quoted(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="0" y="16">{escape(title)}</text>',
        f'<text class="note" x="0" y="34">{escape(note)}</text>',
    ]
    for number, row in enumerate(rows):
        parts += _row(row, TOP + ROW * number, scale)
    return "\n".join([*parts, "</svg>", ""])


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
