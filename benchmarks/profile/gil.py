"""
How often a thread releases the GIL, and what code does: each time it may have to wait
until it gets it again. Counted by a library (gil.c) that is loaded before Python.
"""

import ctypes
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("gil.c")
PRELOAD = "LD_PRELOAD"


class NotCountable(Exception):
    """It can't be counted here; the message says why."""


def compiled(folder: Path) -> Path:
    """Compile the library into this folder. Raise NotCountable if it can't be done."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise NotCountable("There is no C compiler (cc).")
    library = folder / "gil.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)]
    done = subprocess.run([*command, "-ldl"], capture_output=True, text=True)
    if done.returncode:
        raise NotCountable(f"cc: {done.stderr.strip().partition(chr(10))[0]}")
    return library


@contextmanager
def preloaded(library: Path) -> Iterator[None]:
    """Have the processes that are started now load this library first."""
    before = os.environ.get(PRELOAD)
    os.environ[PRELOAD] = " ".join(filter(None, [str(library), before]))
    try:
        yield
    finally:
        if before is None:
            del os.environ[PRELOAD]
        else:
            os.environ[PRELOAD] = before


@cache
def _library() -> Any:
    # PyDLL: to call it does not release the GIL.
    library = ctypes.PyDLL(None)
    library.gil_released.restype = ctypes.c_char_p
    return library


def releases(work: Callable[[], Any]) -> dict[str, int]:
    """Return how often this thread releases the GIL in it, by whose library does."""
    library = _library()
    library.gil_count(1)
    try:
        work()
    finally:
        library.gil_count(0)
    found: Counter[str] = Counter()
    count = ctypes.c_long()
    number = 0
    while (file := library.gil_released(number, ctypes.byref(count))) is not None:
        found[whose(os.fsdecode(file))] += count.value
        number += 1
    return dict(found)


def can_be_seen() -> bool:
    """Return True if Python's own releases are counted, as in a shared library."""
    return sum(releases(lambda: time.sleep(0)).values()) > 0


def whose(file: str) -> str:
    """Return the package or module that a library belongs to."""
    path = Path(file)
    if path.name.startswith("libpython"):
        return "Python"
    folders = path.parts
    if "site-packages" in folders:
        inside = folders[folders.index("site-packages") + 1 :]
    else:
        inside = folders[-1:]
    return inside[0].partition(".")[0].strip("_").removesuffix("_backend")
