"""What the commands write: sessions as a table, as JSON or as CSV."""

import csv
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.core.management.base import OutputWrapper
from django.utils import timezone

from ..sessions import SessionInfo
from .terminal import console_on, has_rich

COLUMNS = ("id", "user", "created", "expires", "size")
#: So many rows are held to find out how wide a table is, and written at once by rich.
PAGE = 100
#: How wide a date is.
DATE = 10

Writer = Callable[[Iterable[SessionInfo], OutputWrapper, bool | None], None]


def write_table(
    infos: Iterable[SessionInfo], out: OutputWrapper, colour: bool | None
) -> None:
    """Write a table, a page at a time. Colour: True, False, or None: on a terminal."""
    infos = iter(infos)
    page = list(islice(infos, PAGE))
    if not page:
        return
    rows = [COLUMNS, *map(_row, page)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if has_rich() and (out.isatty() or colour):
        write = _rich_rows(out, colour, widths)
    else:
        write = _plain_rows(out, widths)
    while page:
        write(rows)
        page = list(islice(infos, PAGE))
        rows = [_row(info) for info in page]


def write_json(
    infos: Iterable[SessionInfo], out: OutputWrapper, colour: bool | None
) -> None:
    """Write one array, a line for each session. It is closed if all were written."""
    before = "[\n"
    for info in infos:
        out.write(before + json.dumps(record(info)), ending="")
        before = ",\n"
    out.write("[]" if before == "[\n" else "\n]")


def write_csv(
    infos: Iterable[SessionInfo], out: OutputWrapper, colour: bool | None
) -> None:
    """Write a line for each session, below one with the names of the columns."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for info in infos:
        writer.writerow(record(info).values())


WRITERS: dict[str, Writer] = {
    "table": write_table,
    "json": write_json,
    "csv": write_csv,
}


def record(info: SessionInfo) -> dict[str, Any]:
    """Return what programs are told of a session."""
    return {
        "id": info.id,
        "user": info.user_id,
        "created": _for_programs(info.created),
        "expires": _for_programs(info.expires),
        "size": info.size,
    }


def write_facts(info: SessionInfo, out: OutputWrapper) -> None:
    """Write what is known of one session, a line for each fact."""
    _, user, created, expires, _ = _row(info, "%Y-%m-%d %H:%M:%S %Z")
    facts = (info.id, user, created, expires, f"{info.size:,} bytes")
    for name, fact in zip(COLUMNS, facts, strict=True):
        out.write(f"{name:7}  {fact}")


def as_json(info: SessionInfo) -> str:
    """Return a session with its data. What JSON can't hold is shown as Python does."""
    data = {str(name): _jsonable(value) for name, value in info.decode().items()}
    return json.dumps({**record(info), "data": data}, indent=2)


def number(count: int) -> str:
    return f"{count:,} session{'' if count == 1 else 's'}"


# Rows.


def _row(info: SessionInfo, moment: str = "%Y-%m-%d %H:%M") -> tuple[str, ...]:
    user = "-" if info.user_id is None else info.user_id
    if info.created is None:
        user = "unreadable"
    return (
        info.id,
        # Nothing that is stored gets to steer a terminal.
        user if user.isprintable() else repr(user),
        "-" if info.created is None else _for_people(info.created, moment),
        "never" if info.expires is None else _for_people(info.expires, moment),
        str(info.size),
    )


def _for_people(moment: datetime, text: str) -> str:
    return timezone.localtime(moment).strftime(text)


def _for_programs(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    # strftime() takes ten times as long, and that twice for each session.
    plain = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{plain.isoformat(timespec='seconds')}Z"


def _jsonable(value: Any) -> Any:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value


# In plain text.


def _plain_rows(
    out: OutputWrapper, widths: list[int]
) -> Callable[[list[tuple[str, ...]]], None]:
    *texts, last = widths
    line = "  ".join([*(f"{{:{width}}}" for width in texts), f"{{:>{last}}}"])

    def write(rows: list[tuple[str, ...]]) -> None:
        for row in rows:
            out.write(line.format(*row))

    return write


# With rich.


def _rich_rows(
    out: OutputWrapper, colour: bool | None, widths: list[int]
) -> Callable[[list[tuple[str, ...]]], None]:
    from rich.table import Table
    from rich.text import Text

    console = console_on(out, colour)
    gaps = 2 * (len(widths) - 1)
    if sum(widths) + gaps > console.width:
        widths[2:4] = DATE, DATE  # The time goes below.
    # A part of an id is of no use to anybody: rather the terminal breaks the lines.
    console.width = max(console.width, sum(widths) + gaps)

    def write(rows: list[tuple[str, ...]]) -> None:
        table = Table(box=None, pad_edge=False, show_header=rows[0] == COLUMNS)
        for name, width in zip(COLUMNS, widths, strict=True):
            table.add_column(
                name,
                justify="right" if name == "size" else "left",
                overflow="fold",
                width=width,
            )
        for row in rows:
            if row != COLUMNS:
                table.add_row(*map(Text, row))
        console.print(table)

    return write
