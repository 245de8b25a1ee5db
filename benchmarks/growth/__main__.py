"""See the package."""

import importlib
import sys
from typing import Any

from ..run import Suite, command
from . import environment
from .report import ENGINES, PAGE


def main(words: list[str]) -> int:
    suite = Suite("python -m benchmarks.growth", PAGE, _measure, PAGE.text, ENGINES)
    return command(words, suite)


def _measure(name: str, full: bool, failed: dict[str, str]) -> tuple[Any, str]:
    # Here, because who only looks at results needs no engine.
    environment.set_up()
    from . import ground

    measure: Any = importlib.import_module(f"{__package__}.{name}").measure
    return measure(full), ground.version()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
