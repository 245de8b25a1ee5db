"""
The command:

    python -m benchmarks [--full] [--write] [MEASURE ...]

runs the measures, all if none is named, and keeps what each has found in a file of its
own. So one that was interrupted is run again, and the others' figures are still there.
"""

import argparse
import importlib
import json
import os
import platform
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import report
from .engines import ENGINES
from .report import MEASURES

RESULTS = Path(__file__).parent / "results"


def main(words: list[str]) -> int:
    options = _options(words)
    broken = []
    for name in [] if options.report else options.measures or MEASURES:
        try:
            _run(name, options.full, options.results)
        except Exception:  # The others can be measured all the same.
            traceback.print_exc()
            broken.append(name)
    results = report.load(options.results)
    print(report.text(results))
    if options.write:
        report.write(results)
    if broken:
        print(f"Not measured: {', '.join(broken)}.")
    return 1 if broken else 0


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=", ".join(MEASURES)
    )
    parser.add_argument("--full", action="store_true", help="more rounds; takes longer")
    parser.add_argument(
        "--write", action="store_true", help="put tables and charts into docs/"
    )
    parser.add_argument(
        "--report", action="store_true", help="measure nothing, use what there is"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder")
    options = parser.parse_args(words)
    unknown = {*options.measures} - {*MEASURES}
    if unknown:
        parser.error(f"There is no measure {', '.join(sorted(unknown))}.")
    return options


def _run(name: str, full: bool, folder: Path) -> None:
    # Here, because who only looks at results needs none of the rivals.
    from .ground import ground

    measure: Any = importlib.import_module(f"benchmarks.{name}").measure
    failed: dict[str, str] = {}
    began = time.monotonic()
    print(f"{name} ...", flush=True)
    with ground() as place:
        found = measure(place, full, failed)
        about = {**machine(), "server": _version(place)}
    seconds = time.monotonic() - began
    content = {
        "about": {**about, "full": full, "seconds": round(seconds)},
        "failed": failed,
        "found": found,
    }
    folder.mkdir(exist_ok=True)
    # Whole or not at all: it may be interrupted.
    new = folder / f"{name}.json.new"
    new.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    new.replace(folder / f"{name}.json")
    print(f"{name}: {seconds:.0f} s", flush=True)
    for engine, error in failed.items():
        print(f"  {engine} does not run: {error}")


def machine() -> dict[str, Any]:
    """Return what the figures were made on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "versions": _versions(),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for engine in ENGINES.values():
        found |= engine.versions()
    return dict(sorted(found.items()))


def _version(place: Any) -> str:
    with place.connect() as connection:
        info = connection.info("server")
    name = "Valkey" if "valkey_version" in info else "Redis"
    return f"{name} {info.get('valkey_version', info['redis_version'])}"
