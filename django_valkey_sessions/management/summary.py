"""What ``stats`` writes: a tally of the sessions, and what their server says."""

import json
import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.core.management.base import OutputWrapper

from ..server import Node
from .tally import DAY, HOUR, MINUTE, Spans, Tally
from .terminal import console_on, has_rich

UNITS = ("KB", "MB", "GB", "TB")
PERCENTILES = {"median": 50, "p90": 90, "p99": 99}
#: Columns, where there is no terminal that says how many it has.
WIDTH = 80


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    figure: str
    bar: float | None = None  # How long, as a part of the longest; None: no bar.


Block = tuple[str, list[Row]]
Writer = Callable[[Tally, list[Node], OutputWrapper, bool | None], None]


def write_text(
    tally: Tally, nodes: list[Node], out: OutputWrapper, colour: bool | None
) -> None:
    """Write it for people. Colour: True, False, or None: on a terminal."""
    blocks = [
        ("Sessions", _who(tally)),
        ("Bytes of a session", _bytes(tally)),
        ("Expire in", _spans(tally.lifetimes)),
        ("Age", _spans(tally.ages)),
        ("Server", _server(nodes)),
    ]
    blocks = [(title, rows) for title, rows in blocks if rows]
    if has_rich() and (out.isatty() or colour):
        _write_rich(blocks, out, colour)
    else:
        _write_plain(blocks, out)


def write_json(
    tally: Tally, nodes: list[Node], out: OutputWrapper, colour: bool | None
) -> None:
    """Write it for programs."""
    facts = {
        "sessions": {
            "total": tally.total,
            "logged_in": tally.users,
            "visitors": tally.visitors,
            "unreadable": tally.unreadable,
        },
        "bytes": {"total": tally.sizes.total, **_percentiles(tally)},
        "expire_in": _span_records(tally.lifetimes),
        "never_expire": tally.lifetimes.endless,
        "age": _span_records(tally.ages),
        "server": {
            "nodes": len(nodes),
            "used_memory": _sum(nodes, "used_memory"),
            "maxmemory": _sum(nodes, "maxmemory"),
            "maxmemory_policy": _policies(nodes),
            "evicted_keys": _sum(nodes, "evicted_keys"),
            "expired_keys": _sum(nodes, "expired_keys"),
        },
    }
    out.write(json.dumps(facts, indent=2))


WRITERS: dict[str, Writer] = {"text": write_text, "json": write_json}


# What is said.


def _who(tally: Tally) -> list[Row]:
    counts = {
        "logged in": tally.users,
        "visitors": tally.visitors,
        "unreadable": tally.unreadable,
    }
    parts = {name: count / tally.total for name, count in counts.items() if count}
    rows = [
        Row(name, f"{counts[name]:,}  {_percent(part)}", part)
        for name, part in parts.items()
    ]
    return [Row("total", f"{tally.total:,}  {'':4}" if rows else "0"), *rows]


def _bytes(tally: Tally) -> list[Row]:
    if not tally.total:
        return []
    rows = [Row(name, f"{size:,}") for name, size in _percentiles(tally).items()]
    return [*rows, Row("all together", _size(tally.sizes.total))]


def _percentiles(tally: Tally) -> dict[str, int]:
    sizes = tally.sizes
    found = {name: sizes.percentile(part) for name, part in PERCENTILES.items()}
    return {**found, "max": sizes.largest}


def _spans(spans: Spans) -> list[Row]:
    counts = [(_name(start, end), count) for start, end, count in spans.counts()]
    if spans.endless:
        counts.append(("never", spans.endless))
    most = max((count for _, count in counts), default=0)
    return [Row(name, f"{count:,}", count / most) for name, count in counts]


def _span_records(spans: Spans) -> list[dict[str, Any]]:
    """Return the spans for programs, in seconds. The longest has no end."""
    return [
        {"from": start, "to": None if end == math.inf else end, "sessions": count}
        for start, end, count in spans.counts()
    ]


def _name(start: float, end: float) -> str:
    if end == math.inf:
        return f"over {_time(start)}"
    return f"{_time(start)} to {_time(end)}" if start else f"under {_time(end)}"


def _time(seconds: float) -> str:
    units = ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"))
    unit, name = next(pair for pair in units if seconds >= pair[0])
    count = int(seconds // unit)
    return f"{count} {name}{'' if count == 1 else 's'}"


def _server(nodes: list[Node]) -> list[Row]:
    limit = _sum(nodes, "maxmemory")
    return [
        *([Row("primaries", f"{len(nodes)}")] if len(nodes) > 1 else []),
        Row("memory used", _size(_sum(nodes, "used_memory"))),
        Row("maxmemory", _size(limit) if limit else "none"),
        Row("policy", _policies(nodes)),
        Row("evicted keys", f"{_sum(nodes, 'evicted_keys'):,}"),
        Row("expired keys", f"{_sum(nodes, 'expired_keys'):,}"),
    ]


def _sum(nodes: list[Node], name: str) -> int:
    return sum(node.number(name) for node in nodes)


def _policies(nodes: list[Node]) -> str:
    found = {node.info.get("maxmemory_policy", "unknown") for node in nodes}
    return ", ".join(sorted(found))


def _percent(part: float) -> str:
    percent = round(part * 100)
    if percent == 100 and part < 1:
        return ">99%"
    return f"{percent:3}%" if percent else " <1%"


def _size(count: float) -> str:
    """Return a number of bytes in words."""
    if count < 1024:
        return f"{count:,.0f} bytes"
    power = min(int(math.log(count, 1024)), len(UNITS))
    return f"{count / 1024**power:,.1f} {UNITS[power - 1]}"


# How it looks.


def _lines(blocks: Iterable[Block], width: int) -> Iterable[tuple[str, str]]:
    """Yield each line in two parts: the text, and how long a bar is behind it."""
    blocks = list(blocks)
    rows = [row for _, rows in blocks for row in rows]
    names = max(len(row.name) for row in rows)
    figures = max(len(row.figure) for row in rows)
    room = max(width - names - figures - 6, 1)
    for number, (title, rows) in enumerate(blocks):
        if number:
            yield "", ""
        yield title, ""
        for row in rows:
            text = f"  {row.name:{names}}  {row.figure:>{figures}}"
            bar = math.ceil(row.bar * room) if row.bar else 0
            yield text, "#" * bar


def _write_plain(blocks: list[Block], out: OutputWrapper) -> None:
    width = shutil.get_terminal_size((WIDTH, 0)).columns if out.isatty() else WIDTH
    for text, bar in _lines(blocks, width):
        out.write(f"{text}  {bar}".rstrip())


def _write_rich(blocks: list[Block], out: OutputWrapper, colour: bool | None) -> None:
    from rich.text import Text

    console = console_on(out, colour)
    for text, bar in _lines(blocks, console.width):
        title = bool(text) and not text.startswith(" ")
        line = Text(text, style="bold" if title else "")
        if bar:
            line.append("  ").append("█" * len(bar), style="cyan")
        console.print(line, soft_wrap=True)
