"""
Run the README's command for the demo as a newcomer does: in a copy of the checkout,
in a fresh environment.

    python tests/readme_commands.py
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent

COMMAND = """
python -m pip install -e ".[demo]" && python testproject/manage.py demo
"""

#: Seconds for installing and starting.
PATIENCE = 300


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        ignored = shutil.ignore_patterns(".git", ".tox", ".venv", "data", "*.egg-info")
        shutil.copytree(ROOT, checkout, ignore=ignored)
        venv.create(Path(folder) / "venv", with_pip=True)
        path = os.pathsep.join([f"{folder}/venv/bin", os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}
        environment.pop("PYTHONPATH", None)
        demo = subprocess.Popen(
            ["bash", "-c", f"set -e; {COMMAND}"],
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            print(f"the demo shows: {title_of(address_printed(demo))}")
        finally:
            os.killpg(demo.pid, signal.SIGINT)  # As Ctrl-C does.
            rest, _ = demo.communicate(timeout=30)
        print(f"after Ctrl-C it ended with {demo.returncode}:\n{rest}")
        if demo.returncode not in (0, 130):
            sys.exit(1)


def address_printed(demo: subprocess.Popen[str]) -> str:
    deadline = time.monotonic() + PATIENCE
    for line in demo.stdout:
        print(line, end="")
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            return found[0]
        if time.monotonic() > deadline:
            break
    raise SystemExit("The demo printed no address.")


def title_of(address: str) -> str:
    for _ in range(100):
        try:
            with urllib.request.urlopen(address) as page:  # noqa: S310
                title = re.search("<title>(.*?)</title>", page.read().decode(), re.S)
                return title[1].strip()
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"Nothing is served at {address}.")


if __name__ == "__main__":
    main()
