"""
How costs grow: with the number of sessions, their size, and how many ask at once.

    python -m benchmarks.growth --quick            about ten minutes
    python -m benchmarks.growth --full             about an hour, and 6 GB of memory
    python -m benchmarks.growth --full commands    one of its parts

Each part writes results/growth-PART.json beside this folder.
"""

import os
import sys
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = ("", "testproject", "benchmarks/dictionary")
sys.path[:0] = [str(ROOT / folder) for folder in _FOLDERS]
os.environ["DJANGO_SETTINGS_MODULE"] = f"{__name__}.patient_settings"
# For the processes that are measured.
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[: len(_FOLDERS)])
django.setup()
