"""
What becomes of the figures: tables and charts, in the terminal and in
docs/performance.md.
"""

from collections.abc import Callable, Iterable
from typing import Any

from . import targets
from .charts import Bar, bars
from .engines import ENGINES, FLOORS, MINE, VARIANTS, label
from .pages import (
    DOCS,
    MISSING,
    Page,
    Results,
    conditions,
    markdown,
    number,
    times,
)
from .profile.owners import CLIENT, DJANGO, ENGINE, LOOP
from .visits import REQUESTS

MEASURES = ("costs", "latency", "network", "serving", "stored", "startup", "profile")
ORDER = [MINE, *VARIANTS, *list(ENGINES)[1:], *FLOORS]


def text(results: Results) -> str:
    """Return what was measured and whether that was wanted, for a terminal."""
    return "\n\n".join([PAGE.text(results, ["targets"]), targets.text(results)])


# Tables


def _table(
    first: str, names: Iterable[str], cell: Callable[[str, str], str], columns: Any
) -> str:
    """Return a table with an engine in each row. One without figures is left out."""
    rows = []
    for name in names:
        cells = [cell(name, column) for column in columns]
        if any(cells):
            rows.append([label(name), *cells])
    return markdown([first, *columns], rows) if rows else MISSING


def _found(results: Results, *path: str) -> Any:
    found: Any = results.get(path[0], {}).get("found", {})
    for name in path[1:]:
        found = found.get(name, {})
    return found


def shown(summary: Any) -> str:
    """Return a median, how many times ours it is, and half of its middle half."""
    if not summary:
        return ""
    median = summary["median"]
    spread = (summary["high"] - summary["low"]) / 2 / median if median else 0
    return f"{times(median, summary)} ±{spread:.0%}"


def _trips(results: Results) -> str:
    costs = _found(results, "costs")

    def cell(name: str, request: str) -> str:
        cost = costs.get(request, {}).get(name)
        if not cost:
            return ""
        # What goes to a file is no round trip.
        if name.endswith("sqlite"):
            commands = cost["commands"]
            return f"{commands:g} command{'s' * (commands != 1)}"
        return f"{cost['trips']:g}"

    return _table("round trips", ENGINES, cell, REQUESTS)


def _bytes(results: Results) -> str:
    costs = _found(results, "costs")

    def cell(name: str, request: str) -> str:
        cost = costs.get(request, {}).get(name)
        if not cost or name.endswith("sqlite"):
            return ""
        return f"{cost['sent']:.0f} / {cost['received']:.0f}"

    return _table("bytes sent / received", ENGINES, cell, REQUESTS)


def _summary(results: Results) -> str:
    """Return the table for those who decide in five minutes."""
    costs, served = _found(results, "costs"), _found(results, "serving")
    memory = _memory_of(results, "small")

    def trips(request: str) -> Callable[[str], str]:
        def cell(name: str) -> str:
            cost = costs.get(request, {}).get(name, {})
            kind = "commands" if name.endswith("sqlite") else "trips"
            return f"{cost[kind]:g}" if cost else ""

        return cell

    def rate(kind: str, what: str) -> Callable[[str], str]:
        def cell(name: str) -> str:
            found = served.get(kind, {}).get(what, {}).get("rate", {}).get(name)
            return times(found["median"], found) if found else ""

        return cell

    columns: dict[str, Callable[[str], str]] = {
        "read": trips("read"),
        "read and renew": trips("read and renew"),
        "write": trips("write"),
        "login": trips("login with a session"),
        "reads/s, gthread": rate("gunicorn gthread", "read"),
        "writes/s, gthread": rate("gunicorn gthread", "write"),
        "reads/s, uvicorn": rate("uvicorn", "read"),
        "writes/s, uvicorn": rate("uvicorn", "write"),
        "bytes a session": lambda name: number(memory[name]) if name in memory else "",
    }
    return _table(
        "", ENGINES, lambda name, column: columns[column](name), columns.keys()
    )


def _memory_of(results: Results, kind: str) -> dict[str, float]:
    """Return the bytes of a session, with jemalloc if that was measured."""
    servers = sorted(
        _found(results, "stored", "servers").values(),
        key=lambda found: "jemalloc" not in found["allocator"],
    )
    sizes = servers[0]["sizes"].get(kind, {}) if servers else {}
    return {name: size["bytes"] for name, size in sizes.items()}


def _spent(*path: str, unit: str) -> Callable[[Results], str]:
    """Return the table of a measure that has operations, in this unit of theirs."""

    def table(results: Results) -> str:
        found = _found(results, *path)

        def cell(name: str, operation: str) -> str:
            return shown(found[operation].get(unit, {}).get(name))

        return _table("", ORDER, cell, found)

    return table


def _awaiting(results: Results) -> str:
    found = _found(results, "latency", "awaiting")
    columns = {
        f"{operation}, {at_once} at once": operations[operation]["wall"]
        for operation in ("aload", "asave")
        for at_once, operations in found.items()
    }
    return _table(
        "microseconds each",
        ORDER,
        lambda name, column: shown(columns[column].get(name)),
        columns,
    )


def _served(kind: str) -> Callable[[Results], str]:
    units = {
        "requests/s": "rate",
        "p50, ms": "p50",
        "p99, ms": "p99",
        "CPU, µs": "application",
        "server's CPU, µs": "server",
    }
    own = {"event loop's CPU, µs": "loop", "client's CPU, µs": "native"}
    # A thread that has ended took its count with it. Under ASGI many do.
    if kind.startswith("gunicorn"):
        units |= {"waits": "waits", "preempted": "preemptions"}
    else:
        units |= own

    def table(results: Results) -> str:
        found = _found(results, "serving", kind)
        columns = {
            f"{what}: {title}": summaries[unit]
            for what, summaries in found.items()
            for title, unit in units.items()
            # Of one that has no session, only what shows how much the others add.
            if (what != "anonymous" or unit in ("rate", "application", *own.values()))
            and unit in summaries
        }
        return _table(
            "", ENGINES, lambda name, column: shown(columns[column].get(name)), columns
        )

    return table


def _memory(results: Results) -> str:
    columns: dict[str, Any] = {}
    for server, found in _found(results, "stored", "servers").items():
        for kind, sizes in found["sizes"].items():
            columns[f"{kind}, {server}"] = sizes

    def cell(name: str, column: str) -> str:
        size = columns[column].get(name)
        return times(size["bytes"], size) if size else ""

    return _table("bytes a session", ORDER, cell, columns)


def _startup(results: Results) -> str:
    found = _found(results, "startup")
    columns = {
        f"{step}, {unit.replace('mb', 'MB')}": figures
        for step, units in found.items()
        for unit, figures in units.items()
    }
    return _table(
        "", ENGINES, lambda name, column: shown(columns[column].get(name)), columns
    )


def _inside(results: Results) -> str:
    found = _found(results, "latency", "inside")
    if not found:
        return MISSING
    return markdown(
        ["microseconds", "whole", "in GLIDE", "own Python"],
        [
            [name, *(number(spent[part]) for part in ("whole", "glide", "own"))]
            for name, spent in found.items()
        ],
    )


def _calls(results: Results) -> str:
    found = _found(results, "profile", "calls")

    def cell(name: str, request: str) -> str:
        calls = found[request].get(name)
        if not calls:
            return ""
        mine = [calls.get(whose, 0) for whose in (ENGINE, CLIENT)]
        return " / ".join(map(str, (sum(calls.values()) - sum(mine), *mine)))

    return _table("function calls: Django / engine / client", ENGINES, cell, found)


def _gil(results: Results) -> str:
    found = _found(results, "profile", "gil")
    if "impossible" in found:
        return f"Not counted: {found['impossible']}"

    def cell(name: str, request: str) -> str:
        releases = found[request].get(name)
        if not releases:
            return "" if releases is None else "0"
        most = sorted(releases.items(), key=lambda item: -item[1])
        whose = ", ".join(
            f"{count:.2g} {library}" for library, count in most if count >= 0.1
        )
        total = f"{sum(releases.values()):.3g}"
        return f"{total} ({whose})" if whose else total

    # Requests first.
    columns = sorted(found, key=lambda name: "at once" in name)
    return _table("releases of the GIL", ORDER, cell, columns)


def _stages(results: Results) -> str:
    stages = _found(results, "profile", "stages")
    if not stages:
        return MISSING
    return markdown(
        ["microseconds", "hot", "cold"],
        [
            [stage["name"], number(stage["hot"]), number(stage["cold"])]
            for stage in stages
        ],
    )


def _awaited(unit: str, title: str) -> Callable[[Results], str]:
    """Return the table of what one operation takes of this, by whose it is."""

    def table(results: Results) -> str:
        found = _found(results, "profile", "awaiting")
        columns = {
            f"{operation}: {part}": (operation, owners)
            for operation in found
            for part, owners in (
                *((whose, [whose]) for whose in (LOOP, CLIENT, ENGINE, DJANGO)),
                ("all", None),
            )
        }

        def cell(name: str, column: str) -> str:
            operation, owners = columns[column]
            shares = found[operation].get(name, {}).get(unit, {})
            if not shares:
                return ""
            return number(sum(shares.get(whose, 0) for whose in owners or shares))

        return _table(title, ORDER, cell, columns)

    return table


def _targets(results: Results) -> str:
    return markdown(["target", "limit", "seen", ""], targets.rows(results))


def _who(results: Results) -> str:
    """Return which versions were compared, and what of it does not run."""
    versions: dict[str, str] = {}
    failed: dict[str, str] = {}
    for result in results.values():
        versions |= result["about"]["versions"]
        failed |= result["failed"]
    rows = []
    for name, engine in ENGINES.items():
        used = ", ".join(f"{p} {versions[p]}" for p in engine.packages if p in versions)
        errors = [
            f"{what.partition(', ')[2] or 'it'} does not run: `{why}`"
            for what, why in failed.items()
            if what.partition(", ")[0] == name
        ]
        rows.append([engine.label, used, "; ".join(errors)])
    return markdown(["engine", "versions", ""], rows) if results else MISSING


TABLES: dict[str, Callable[[Results], str]] = {
    "summary": _summary,
    "trips": _trips,
    "bytes": _bytes,
    "operations": _spent("latency", "blocking", unit="wall"),
    "operations-cpu": _spent("latency", "blocking", unit="cpu"),
    "operations-waits": _spent("latency", "blocking", unit="waits"),
    "inside": _inside,
    "awaiting": _awaiting,
    "network": _spent("network", "operations", unit="wall"),
    "gunicorn-sync": _served("gunicorn sync"),
    "gunicorn-gthread": _served("gunicorn gthread"),
    "uvicorn": _served("uvicorn"),
    "uvicorn-alone": _served("uvicorn alone"),
    "memory": _memory,
    "startup": _startup,
    "calls": _calls,
    "gil": _gil,
    "stages": _stages,
    "awaited-calls": _awaited("calls", "function calls of one"),
    "awaited-time": _awaited("microseconds", "microseconds of one"),
    "who": _who,
    "conditions": conditions,
    "targets": _targets,
}


# Charts


def _chart(
    title: str,
    note: str,
    figures: dict[str, Any],
    shown: Callable[[float], str] = number,
) -> str | None:
    rows = []
    for name in ORDER:
        found = figures.get(name)
        if found is None:
            continue
        summary = found if isinstance(found, dict) else {"median": found}
        value = summary["median"]
        kind = "floor" if name in FLOORS else ""
        if name.startswith(MINE) or name in VARIANTS:
            kind = "mine"
        rows.append(
            Bar(
                label(name),
                value,
                shown(value),
                kind,
                summary.get("low"),
                summary.get("high"),
            )
        )
    return bars(title, note, rows) if rows else None


def _trips_chart(request: str) -> Callable[[Results], str | None]:
    def chart(results: Results) -> str | None:
        costs = _found(results, "costs", request)
        figures = {
            name: cost["trips"]
            for name, cost in costs.items()
            if not name.endswith("sqlite") and name != "ours-stock"
        }
        return _chart(
            f"Round trips of a request: {request}",
            "counted between engine and server; less is better",
            figures,
            lambda value: f"{value:g}",
        )

    return chart


def _rate_chart(kind: str, what: str) -> Callable[[Results], str | None]:
    def chart(results: Results) -> str | None:
        return _chart(
            f"{kind}, a page that {what}s its session",
            "requests a second; more is better; line: the middle half of the rounds",
            _found(results, "serving", kind, what, "rate"),
        )

    return chart


def _wall_chart(title: str, *path: str) -> Callable[[Results], str | None]:
    def chart(results: Results) -> str | None:
        return _chart(
            title,
            "microseconds; less is better; line: the middle half of the rounds",
            _found(results, *path, "wall"),
        )

    return chart


def _memory_chart(results: Results) -> str | None:
    return _chart(
        "Memory of the server for a small session",
        "bytes; less is better",
        _memory_of(results, "small"),
    )


DRAWINGS: dict[str, Callable[[Results], str | None]] = {
    "trips-renew": _trips_chart("read and renew"),
    "trips-write": _trips_chart("write"),
    "trips-login": _trips_chart("login with a session"),
    "memory": _memory_chart,
    "load": _wall_chart("Loading a session", "latency", "blocking", "load"),
    "save": _wall_chart("Saving a session", "latency", "blocking", "save"),
    "network-write": _wall_chart(
        "Loading and saving, 1 ms away", "network", "operations", "load and save"
    ),
    "aload-50": _wall_chart(
        "Loading, 50 awaited at once", "latency", "awaiting", "50", "aload"
    ),
    "gthread-read": _rate_chart("gunicorn gthread", "read"),
    "gthread-write": _rate_chart("gunicorn gthread", "write"),
    "uvicorn-read": _rate_chart("uvicorn", "read"),
    "uvicorn-write": _rate_chart("uvicorn", "write"),
}

PAGE = Page(DOCS / "performance.md", MEASURES, TABLES, DRAWINGS)
