"""
The results as tables of Markdown: python -m benchmarks.growth.tables > growth.md
"""

import json
from typing import Any

from .ground import RESULTS


def main() -> None:
    for path in sorted(RESULTS.glob("growth-*.json")):
        result = json.loads(path.read_text())
        machine = ", ".join(f"{name} {of}" for name, of in result["machine"].items())
        print(f"## {path.stem}\n\n`{result['command']}`, {result['date']}: {machine}\n")
        print(table([_flat(row) for row in result["rows"]]))


def table(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["--"] * len(names)]
    lines += [[str(row.get(name, "")) for name in names] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        inner = value.items() if isinstance(value, dict) else ()
        flat |= {f"{name} {part}": found for part, found in inner} or {name: value}
    return flat


if __name__ == "__main__":
    main()
