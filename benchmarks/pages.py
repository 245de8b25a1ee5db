"""
Pages of the documentation, and what of them is made from results: charts, in the folder
that is called like the page, and tables. Each table stands between two marks, which are
comments:

    <!-- table NAME -->
    <!-- end -->
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What each measure has found, by its name.
Results = dict[str, Any]

DOCS = Path(__file__).parent.parent / "docs"
MISSING = "Not measured."


@dataclass(frozen=True, slots=True)
class Page:
    document: Path
    measures: tuple[str, ...]
    tables: Mapping[str, Callable[[Results], str]]
    drawings: Mapping[str, Callable[[Results], str | None]]
    #: With what the files of its results begin.
    prefix: str = ""

    def file(self, folder: Path, measure: str) -> Path:
        """Return where the results of this measure are kept."""
        return folder / f"{self.prefix}{measure}.json"

    def load(self, folder: Path) -> Results:
        """Return what each measure has found, by its name."""
        files = {name: self.file(folder, name) for name in self.measures}
        return {
            name: json.loads(file.read_text())
            for name, file in files.items()
            if file.exists()
        }

    def text(self, results: Results, without: Iterable[str] = ()) -> str:
        """Return the tables that have figures, for a terminal."""
        made = {
            name: make(results)
            for name, make in self.tables.items()
            if name not in without
        }
        parts = [f"{n}\n\n{part}" for n, part in made.items() if MISSING not in part]
        return "\n\n".join(parts)

    def write(self, results: Results, document: Path | None = None) -> None:
        """Bring tables and charts into the page."""
        document = document or self.document
        document.write_text(self.filled(document.read_text(), results))
        charts = document.with_suffix("")
        charts.mkdir(exist_ok=True)
        for name, make in self.drawings.items():
            drawing = make(results)
            if drawing is not None:
                (charts / f"{name}.svg").write_text(drawing)

    def filled(self, text: str, results: Results) -> str:
        """Return the text with these results in its tables."""

        def table(mark: re.Match[str]) -> str:
            return f"{mark[1]}\n\n{self.tables[mark[2]](results)}\n\n<!-- end -->"

        pattern = r"(<!-- table (\S+) -->).*?<!-- end -->"
        return re.sub(pattern, table, text, flags=re.DOTALL)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def times(value: float, found: Any) -> str:
    """Return a figure, and how many times ours it is where ours was measured."""
    ratio = f" ({found['ratio']:.2f})" if "ratio" in found else ""
    return f"{number(value)}{ratio}"


def number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def conditions(results: Results) -> str:
    """Return the table of what each measure was made on."""
    if not results:
        return MISSING
    return markdown(
        ["measure", "date", "on", "load before", "Python", "server", "run", "seconds"],
        [
            [
                name,
                about["date"],
                f"{about['cores']} cores, {about['cpu']}, {about['system']}",
                f"{about['load']:g}",
                about["python"],
                about["server"],
                "full" if about["full"] else "quick",
                str(about["seconds"]),
            ]
            for name, about in ((name, r["about"]) for name, r in results.items())
        ],
    )
