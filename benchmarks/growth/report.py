"""What becomes of the figures: tables and charts, in docs/scaling.md."""

from collections.abc import Callable, Iterable
from typing import Any

from ..charts import Axis, Bar, Line, bars, from_zero, in_powers, lines
from ..engines import ENGINES as ALL
from ..engines import MINE
from ..pages import DOCS, MISSING, Page, Results, conditions, markdown, number, times
from . import sizing

MEASURES = ("requests", "commands", "crowds", "keys", "sizes")
#: Who takes part.
ENGINES = (MINE, "django-cache", "django-redis")

Row = dict[str, Any]

#: What the engines are called in the rows of `sizes`, and on the page.
THIS = "this"
STORES = {THIS: ALL[MINE].label, "cache on RedisCache": ALL["django-cache"].label}
ONE, CLUSTER = "1 server", "3 primaries"
#: The commands whose costs for each million are told.
LINEAR = ("list --format csv", "stats", "clear", "clear --all --noinput")
NOTHING = "nothing, for 10 s"


def _rows(results: Results, measure: str) -> list[Row]:
    rows: list[Row] = results.get(measure, {}).get("found", {}).get("rows", [])
    return rows


def _table(
    first: str,
    rows: Iterable[Row],
    name: Callable[[Row], str],
    columns: dict[str, Callable[[Row], Any]],
) -> str:
    """Return a table with a line for each row."""
    made = [
        [name(row), *(_shown(figure(row)) for figure in columns.values())]
        for row in rows
    ]
    return markdown([first, *columns], made) if made else MISSING


def _shown(figure: Any) -> str:
    if isinstance(figure, int):
        return f"{figure:,}"
    return figure if isinstance(figure, str) else number(figure)


def count(value: float) -> str:
    """Return a number as people say it."""
    for size, name in ((10**6, "million"), (1000, "thousand")):
        if value >= size and value % size == 0:
            return f"{value // size:,.0f} {name}"
    return f"{value:,.0f}"


def size(value: float) -> str:
    """Return bytes as people say them."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (1000, "KB")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.3g} B"


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.1f} s"


# What follows


def _sizing(results: Results) -> str:
    if "requests" not in results:
        return MISSING
    return markdown(
        [
            "live sessions",
            "data",
            "primaries, and as many replicas",
            "`maxmemory` of each",
            "requests in a second at the peak",
            "of each primary",
            "of its core",
            "of its network",
        ],
        [
            [
                count(need.sessions),
                size(need.data),
                str(need.primaries),
                size(need.room),
                f"{need.peak:,.0f}",
                f"{need.peak / need.primaries:,.0f}",
                f"{need.cpu:.1%}",
                f"{need.bits / 1e6:.1f} Mbit/s",
            ]
            for need in sizing.needs(results)
        ],
    )


def _assumed(results: Results) -> str:
    return markdown(["assumed", ""], sizing.ASSUMED.items())


def _primary(results: Results) -> str:
    if "requests" not in results:
        return MISSING
    read, change = (
        sizing.of_a_core(results, request) for request in (sizing.READ, sizing.CHANGE)
    )
    sessions = sizing.sessions_of_a_primary(results)
    return markdown(
        [f"one primary of {sizing.LARGEST} GB", "carries"],
        [
            ["live sessions", f"{sessions / sizing.MILLION:.0f} million"],
            ["reads in a second, all of a core", f"{read:,.0f}"],
            ["changes in a second, all of a core", f"{change:,.0f}"],
            [f"reads, with {sizing.BUSY:.0%} of it", f"{read * sizing.BUSY:,.0f}"],
            [f"changes, with {sizing.BUSY:.0%} of it", f"{change * sizing.BUSY:,.0f}"],
        ],
    )


def _memory(results: Results) -> str:
    if "requests" not in results:
        return MISSING
    memory = results["requests"]["found"]["memory"]
    copied = memory["copied_while_the_append_only_file_is_rewritten"]
    memory = {**memory, "around_the_value": memory["session"] - memory["value"]}
    bytes_ = {
        "a session, with its key and all that the server has around it": "session",
        "… as the system sees it (resident)": "session_resident",
        "… of it the value": "value",
        "… of it all else": "around_the_value",
        "the value, with a dictionary of other kinds of sites": "value_of_other_sites",
        "its entry in the index of users, if somebody is logged in": (
            "index_of_one_session"
        ),
        f"one whose value takes {memory['stored_value_of_a_large_one']:,} bytes": (
            "large_session"
        ),
    }
    rows = [[what, f"{memory[name]:,}"] for what, name in bytes_.items()]
    both = f"{sizing.bytes_of_one(results):,.0f}"
    rows.append(
        ["a value of other sites, all else, and the entry: what the sizing has", both]
    )
    rows.append(["copied while the append-only file is rewritten", f"{copied:.0%}"])
    head = f"of {count(memory['sessions'])} sessions"
    return markdown([head, "bytes in the server"], rows)


def _requests(results: Results) -> str:
    return _table(
        "request",
        _rows(results, "requests"),
        lambda row: str(row["request"]),
        {
            "CPU, one at a time, µs": lambda row: row["server_us"],
            "16 threads at once, µs": lambda row: row["server_us_crowded"],
            "bytes in": lambda row: row["bytes_in"],
            "bytes out": lambda row: row["bytes_out"],
            "packets": lambda row: row["packets"],
            "bytes with what is around packets": sizing.network_of,
        },
    )


# What grows


def _sizes(results: Results) -> str:
    rows = _rows(results, "sizes")
    ours = {row["size"]: row for row in rows if row["engine"] == THIS}

    def figure(name: str) -> Callable[[Row], str]:
        def cell(row: Row) -> str:
            return times(row[name], {"ratio": row[name] / ours[row["size"]][name]})

        return cell

    return _table(
        "JSON, engine",
        rows,
        lambda row: f"{size(row['size'])}, {STORES[row['engine']]}",
        {
            "read, µs": figure("read_us"),
            "read: CPU": figure("read_cpu_us"),
            "read: server's CPU": figure("read_server_us"),
            "change, µs": figure("change_us"),
            "change: CPU": figure("change_cpu_us"),
            "change: server's CPU": figure("change_server_us"),
            "bytes in the server": figure("stored"),
            "bytes Python holds at most": figure("held_bytes"),
        },
    )


def _crowds(results: Results) -> str:
    places: dict[str, dict[str, Row]] = {ONE: {}, CLUSTER: {}}
    for row in _rows(results, "crowds"):
        kind = "thread" if "threads" in row else "task"
        number_of = row[f"{kind}s"]
        crowd = f"{number_of} {kind}{'s' * (number_of != 1)}"
        places[row["place"]][crowd] = row

    def figure(place: str, name: str) -> Callable[[Row], str]:
        def cell(row: Row) -> str:
            found = places[place][row["crowd"]][name]
            if name == "connections":
                return f"{found:.0f}"
            return times(found, {"ratio": found / places[ONE][row["crowd"]][name]})

        return cell

    return _table(
        "at once",
        ({"crowd": crowd} for crowd in places[ONE]),
        lambda row: str(row["crowd"]),
        {
            f"{place}: {title}": figure(place, name)
            for place in places
            for title, name in (
                ("in a second", "per_second"),
                ("CPU, µs", "cpu_us"),
                ("server's CPU, µs", "server_us"),
                ("connections", "connections"),
            )
        },
    )


def _keys(results: Results) -> str:
    found: dict[str, dict[int, Row]] = {}
    for row in _rows(results, "keys"):
        found.setdefault(row["operation"], {})[row["keys"]] = row
    counts = sorted({keys for of in found.values() for keys in of})

    def figure(keys: int, name: str) -> Callable[[Row], str]:
        def cell(row: Row) -> str:
            of = found[row["operation"]]
            ratio = of[keys][name] / of[counts[0]][name]
            return times(of[keys][name], {"ratio": ratio})

        return cell

    return _table(
        "operation",
        ({"operation": operation} for operation in found),
        lambda row: str(row["operation"]),
        {
            f"of {count(keys)}: {title}": figure(keys, name)
            for keys in counts
            for title, name in (("µs", "us"), ("server's CPU, µs", "server_us"))
        },
    )


def _most(results: Results) -> list[Row]:
    """Return what was measured with the most sessions, of each command."""
    rows: dict[str, Row] = {}
    for row in _rows(results, "commands"):
        known = rows.get(row["what"])
        if known is None or row["sessions"] > known["sessions"]:
            rows[row["what"]] = row
    return list(rows.values())


def _commands(results: Results) -> str:
    def figure(name: str) -> Callable[[Row], Any]:
        return lambda row: row.get(name, "")

    def waited(share: str) -> Callable[[Row], Any]:
        return lambda row: row["waited_ms"][share]

    return _table(
        "command",
        _most(results),
        lambda row: NOTHING if row["what"] == NOTHING else f"`{row['what']}`",
        {
            "sessions": lambda row: count(row["sessions"]),
            "seconds": figure("seconds"),
            "its CPU, s": figure("cpu_seconds"),
            "its memory, MB": figure("peak_mb"),
            "server's CPU, s": figure("server_cpu_seconds"),
            "others wait: p50, ms": waited("p50"),
            "p99, ms": waited("p99"),
            "worst, ms": waited("worst"),
        },
    )


def _linear(results: Results) -> str:
    """Return the table of what commands cost with many millions."""
    rows = _rows(results, "commands")
    found = []
    for command in LINEAR:
        of = [row for row in rows if row["what"] == command]
        if len(of) > 1:
            mine, server = (
                sizing.for_a_million(of, name)
                for name in ("cpu_seconds", "server_cpu_seconds")
            )
            found.append([f"`{command}`", *map(duration, (mine, server))])
            found[-1] += map(duration, (mine * 100, server * 100))
    head = ["CPU for", "a million", "server's", "100 million", "server's"]
    return markdown(head, found) if found else MISSING


def _who(results: Results) -> str:
    """Return which versions were measured."""
    versions: dict[str, str] = {}
    for result in results.values():
        versions |= result["about"]["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return named or MISSING


TABLES: dict[str, Callable[[Results], str]] = {
    "sizing": _sizing,
    "assumed": _assumed,
    "primary": _primary,
    "memory": _memory,
    "requests": _requests,
    "keys": _keys,
    "crowds": _crowds,
    "sizes": _sizes,
    "commands": _commands,
    "linear": _linear,
    "conditions": conditions,
    "who": _who,
}


# Charts


def _size_chart(
    title: str,
    note: str,
    figures: dict[str, str],
    shown: Callable[[float], str],
) -> Callable[[Results], str | None]:
    """Return what draws figures of both engines by the size of a session."""

    def chart(results: Results) -> str | None:
        rows = _rows(results, "sizes")
        if not rows:
            return None
        drawn = [
            Line(
                f"{name}, {'ours' if engine == THIS else 'RedisCache'}",
                [(row["size"], row[figure]) for row in rows if row["engine"] == engine],
                mine=engine == THIS,
                dashed=number > 0,
            )
            for number, (name, figure) in enumerate(figures.items())
            for engine in STORES
        ]
        ticks = {row["size"]: size(row["size"]) for row in rows}
        across = Axis(ticks, logarithmic=True)
        return lines(title, note, across, in_powers(drawn, shown), drawn)

    return chart


def _crowd_chart(kind: str, title: str) -> Callable[[Results], str | None]:
    def chart(results: Results) -> str | None:
        rows = [row for row in _rows(results, "crowds") if kind in row]
        if not rows:
            return None
        drawn = [
            Line(
                place,
                [
                    (row[kind], row["per_second"])
                    for row in rows
                    if row["place"] == place
                ],
                mine=True,
                dashed=place != ONE,
            )
            for place in (ONE, CLUSTER)
        ]
        across = Axis({row[kind]: str(row[kind]) for row in rows}, logarithmic=True)
        up = from_zero(drawn, lambda value: f"{value:,.0f}")
        note = "loads with a change and a save, in a second; more is better"
        return lines(title, note, across, up, drawn)

    return chart


def _keys_chart(results: Results) -> str | None:
    rows = sorted(_rows(results, "keys"), key=lambda row: str(row["operation"]))
    drawn = [
        Bar(
            f"{row['operation']}, of {count(row['keys'])}",
            row["us"],
            number(row["us"]),
            "mine" if row["keys"] > rows[0]["keys"] else "",
        )
        for row in rows
    ]
    note = "microseconds, the median; as long means: it does not notice"
    title = "Operations, by how many keys the server has"
    return bars(title, note, drawn) if drawn else None


def _waits_chart(results: Results) -> str | None:
    rivals = {row["what"] for row in _most(results)} - {*LINEAR, NOTHING}
    rivals = {what for what in rivals if "(" in what}
    drawn = [
        Bar(
            f"{row['what'].removesuffix(' --noinput')}, {count(row['sessions'])}",
            row["waited_ms"]["worst"],
            number(row["waited_ms"]["worst"]),
            "" if row["what"] in rivals else "mine",
        )
        for row in _most(results)
        if row["what"] in {*LINEAR, *rivals}
    ]
    note = "milliseconds that another client waits at worst, meanwhile; less is better"
    title = "Commands over all sessions, and who waits for them"
    return bars(title, note, drawn) if drawn else None


DRAWINGS: dict[str, Callable[[Results], str | None]] = {
    "sizes-time": _size_chart(
        "Time of one operation, by the size of the session",
        "microseconds, the median, against bytes of JSON; less is better",
        {"change": "change_us", "read": "read_us"},
        lambda value: f"{value:,.0f}",
    ),
    "sizes-memory": _size_chart(
        "Memory, by the size of the session",
        "bytes in the server, and that Python holds at most during a change, against"
        " bytes of JSON; less is better",
        {"Python": "held_bytes", "server": "stored"},
        size,
    ),
    "crowds-threads": _crowd_chart("threads", "One process, by its threads"),
    "crowds-tasks": _crowd_chart("tasks", "One event loop, by tasks at once"),
    "keys": _keys_chart,
    "commands-waits": _waits_chart,
}

PAGE = Page(DOCS / "scaling.md", MEASURES, TABLES, DRAWINGS, "growth-")
