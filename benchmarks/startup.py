"""
What an engine adds to a process: seconds and memory for its import and a first session
object, and for the first command. Each time a new process, which has set up Django.

All of it is compiled before, as an installer does it. Else a checkout would be compared
with packages that are: Python may have been told to write no bytecode.
"""

import json
import subprocess
import sys
from typing import Any

from .crew import ROOT, Failed, environment
from .engines import MINE, STORES
from .figures import ratios
from .ground import Ground

QUICK, FULL = 3, 11

#: Runs in the process. That Django's own parts of an engine are there already is the
#: same for all: each site has them.
PROGRAM = """
import json, os, sys, time
from importlib import import_module

import django
from django.conf import settings

django.setup()
import django.contrib.sessions.middleware, django.contrib.sessions.backends.base

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

def spent(work):
    clock, memory = time.perf_counter(), resident()
    work()
    return {"ms": (time.perf_counter() - clock) * 1e3, "mb": resident() - memory}

def importing():
    global SessionStore
    SessionStore = import_module(settings.SESSION_ENGINE).SessionStore
    SessionStore("x" * 32)

print(json.dumps({
    "import": spent(importing),
    "first command": spent(lambda: SessionStore("x" * 32).get("theme")),
}))
"""


def measure(ground: Ground, full: bool, failed: dict[str, str]) -> dict[str, Any]:
    series: dict[str, dict[str, dict[str, list[float]]]] = {}
    for round in range(-1, FULL if full else QUICK):
        for name in STORES:
            if name in failed:
                continue
            try:
                steps = started(name, ground)
            except Failed as error:
                failed[name] = str(error)
                continue
            if round < 0:  # It has been compiled.
                continue
            for step, figures in steps.items():
                for unit, figure in figures.items():
                    by_engine = series.setdefault(step, {}).setdefault(unit, {})
                    by_engine.setdefault(name, []).append(figure)
    return {
        step: {unit: ratios(rounds, MINE) for unit, rounds in units.items()}
        for step, units in series.items()
    }


def started(name: str, ground: Ground) -> dict[str, dict[str, float]]:
    """Start a process with this engine; return what each step has taken of what."""
    compiled = ground.folder / "compiled"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={
            **environment(name, ground.place),
            "PYTHONPYCACHEPREFIX": str(compiled),
            "PYTHONDONTWRITEBYTECODE": "",
        },
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Failed(done.stderr.strip().rpartition("\n")[2])
    steps: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return steps
