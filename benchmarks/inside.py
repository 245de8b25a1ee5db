"""How much of an operation is spent in GLIDE, and how much in the engine's Python."""

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any


class Watch:
    """Adds up the time that is spent in GLIDE's client, from outside of it."""

    def __init__(self) -> None:
        self.spent = 0.0
        self._depth = 0

    def watched(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def watched(*arguments: Any, **names: Any) -> Any:
            if self._depth:
                return method(*arguments, **names)
            self._depth += 1
            began = time.perf_counter()
            try:
                return method(*arguments, **names)
            finally:
                self.spent += time.perf_counter() - began
                self._depth -= 1

        return watched


def watch() -> Watch:
    """Put a watch on every method of GLIDE's blocking client."""
    import glide_sync

    found = Watch()
    for kind in glide_sync.GlideClient.__mro__[:-1]:
        for name, method in list(vars(kind).items()):
            if callable(method) and not name.startswith("__"):
                setattr(kind, name, found.watched(method))
    return found


@functools.cache
def _the_watch() -> Watch:
    return watch()


def median(arguments: Sequence[Any], work: Callable[[Any], Any]) -> dict[str, float]:
    """Return the medians of the whole, of GLIDE, and of the rest, in microseconds."""
    watch = _the_watch()
    whole, inner = [], []
    for argument in arguments:
        watch.spent = 0.0
        began = time.perf_counter()
        work(argument)
        whole.append((time.perf_counter() - began) * 1e6)
        inner.append(watch.spent * 1e6)
    rest = [all_of_it - glide for all_of_it, glide in zip(whole, inner, strict=True)]
    return {
        "whole": statistics.median(whole),
        "glide": statistics.median(inner),
        "own": statistics.median(rest),
    }
