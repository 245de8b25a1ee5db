"""
The commands:

    python -m benchmarks [--full] [--write] [MEASURE ...]
    python -m benchmarks.growth [--full] [--write] [MEASURE ...]

Each runs its measures, all if none is named, and keeps what each has found in a file of
its own. So one that was interrupted is run again, and the others' figures are still
there.
"""

import argparse
import importlib
import json
import os
import platform
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import report
from .engines import ENGINES
from .pages import Page, Results

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Suite:
    """Measures that one command runs."""

    program: str
    page: Page
    #: Runs one of them, of this name, fully or not, and notes who fails. It returns
    #: what was found, and on which server.
    measure: Callable[[str, bool, dict[str, str]], tuple[Any, str]]
    #: The results for a terminal.
    text: Callable[[Results], str]
    #: Who takes part.
    engines: tuple[str, ...] = tuple(ENGINES)


def main(words: list[str]) -> int:
    return command(
        words, Suite("python -m benchmarks", report.PAGE, _measure, report.text)
    )


def command(words: list[str], suite: Suite) -> int:
    options = _options(words, suite)
    broken = []
    for name in [] if options.report else options.measures or suite.page.measures:
        try:
            _run(name, options.full, options.results, suite)
        except Exception:  # The others can be measured all the same.
            traceback.print_exc()
            broken.append(name)
    results = suite.page.load(options.results)
    print(suite.text(results))
    if options.write:
        suite.page.write(results)
    if broken:
        print(f"Not measured: {', '.join(broken)}.")
    return 1 if broken else 0


def _options(words: list[str], suite: Suite) -> argparse.Namespace:
    measures = suite.page.measures
    parser = argparse.ArgumentParser(prog=suite.program)
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=", ".join(measures)
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="the default")
    size.add_argument("--full", action="store_true", help="more rounds; takes longer")
    parser.add_argument(
        "--write", action="store_true", help="put tables and charts into docs/"
    )
    parser.add_argument(
        "--report", action="store_true", help="measure nothing, use what there is"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder")
    options = parser.parse_args(words)
    unknown = {*options.measures} - {*measures}
    if unknown:
        parser.error(f"There is no measure {', '.join(sorted(unknown))}.")
    return options


def _run(name: str, full: bool, folder: Path, suite: Suite) -> None:
    # Of the load before, what is measured is no part.
    about = machine(suite.engines)
    failed: dict[str, str] = {}
    began = time.monotonic()
    print(f"{name} ...", flush=True)
    found, server = suite.measure(name, full, failed)
    seconds = time.monotonic() - began
    about |= {"server": server, "full": full, "seconds": round(seconds)}
    content = {"about": about, "failed": failed, "found": found}
    folder.mkdir(exist_ok=True)
    # Whole or not at all: it may be interrupted.
    file = suite.page.file(folder, name)
    new = file.with_suffix(".json.new")
    new.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    new.replace(file)
    print(f"{name}: {seconds:.0f} s", flush=True)
    for engine, error in failed.items():
        print(f"  {engine} does not run: {error}")


def _measure(name: str, full: bool, failed: dict[str, str]) -> tuple[Any, str]:
    # Here, because who only looks at results needs none of the rivals.
    from .ground import ground

    measure: Any = importlib.import_module(f"benchmarks.{name}").measure
    with ground() as place:
        found = measure(place, full, failed)
        return found, _version(place)


def machine(engines: Iterable[str] = tuple(ENGINES)) -> dict[str, Any]:
    """Return what the figures of these engines are made on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "versions": _versions(engines),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions(engines: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in engines:
        found |= ENGINES[name].versions()
    return dict(sorted(found.items()))


def _version(place: Any) -> str:
    with place.connect() as connection:
        info = connection.info("server")
    name = "Valkey" if "valkey_version" in info else "Redis"
    return f"{name} {info.get('valkey_version', info['redis_version'])}"
