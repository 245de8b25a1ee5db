"""How far the commands have got, for who waits at a terminal."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.core.management.base import OutputWrapper

from .terminal import console_on, has_rich

#: Seconds between two looks of a progress in plain text.
INTERVAL = 0.1
#: rich is told of so many at once: telling it costs more than reading a session.
STEP = 100

Tick = Callable[[], None]


@contextlib.contextmanager
def progress(
    what: str,
    err: OutputWrapper | None,
    colour: bool | None,
    total: int | None = None,
) -> Iterator[Tick]:
    """Give what to call for each session; show on a terminal how many these were."""
    if err is None or not err.isatty():
        yield lambda: None
    elif has_rich():
        with _rich_progress(what, err, colour, total) as tick:
            yield tick
    else:
        with _plain_progress(what, err, total) as tick:
            yield tick


@contextlib.contextmanager
def _plain_progress(what: str, err: OutputWrapper, total: int | None) -> Iterator[Tick]:
    of = "" if total is None else f" of {total:,}"
    count, written_at, text = 0, time.monotonic(), f"{what} ..."

    def tick() -> None:
        nonlocal count, written_at, text
        count += 1
        if time.monotonic() - written_at >= INTERVAL:
            written_at, text = time.monotonic(), f"{what}: {count:,}{of}"
            show(f"\r{text}")

    def show(text: str) -> None:
        err.write(text, lambda text: text, ending="")
        err.flush()

    show(text)
    try:
        yield tick
    finally:
        show(f"\r{' ' * len(text)}\r")


@contextlib.contextmanager
def _rich_progress(
    what: str, err: OutputWrapper, colour: bool | None, total: int | None
) -> Iterator[Tick]:
    from rich import progress as bars

    columns: list[Any] = [bars.TextColumn("{task.description}"), bars.BarColumn()]
    columns.append(bars.TimeElapsedColumn())
    if total is not None:
        columns.append(bars.TimeRemainingColumn())
    console = console_on(err, colour)
    count = 0
    with bars.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)

        def tick() -> None:
            nonlocal count
            count += 1
            if count % STEP == 0:
                text = f"{what}: {count:,}"
                bar.update(task, completed=count, description=text)

        yield tick
