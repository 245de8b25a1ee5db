"""Of the process that measures, and of those that it starts."""

import os
import sys
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = ("", "testproject", "benchmarks/dictionary")


def set_up() -> None:
    """Let this process, and those that it starts, use the engine."""
    paths = [str(ROOT / folder) for folder in _FOLDERS]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.environ["DJANGO_SETTINGS_MODULE"] = f"{__package__}.patient_settings"
    # As processes, whose memory and CPU can be seen.
    os.environ["VALKEY_BACKEND"] = "embedded"
    django.setup()
