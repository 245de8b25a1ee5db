"""Get Django's tests, and run contract.py with them on the path."""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import django

HERE = Path(__file__).parent
SUITE = "sessions_tests"


def download(folder: Path) -> Path:
    """Return the folder with the tests of the installed Django's sessions."""
    version = django.get_version()
    requirement = f"django=={version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary=:all:", "--dest", str(folder), requirement]
    subprocess.run(command, check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        root = tar.getnames()[0].split("/")[0]
        wanted = f"{root}/tests/{SUITE}/"
        members = [m for m in tar.getmembers() if m.name.startswith(wanted)]
        tar.extractall(folder, members, filter="data")
    return folder / root / "tests"


def main() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        tests = download(Path(temporary))
        path = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "pytest", str(HERE / "contract.py")]
        command += ["--ds=tests.django_contract.settings", *sys.argv[1:]]
        return subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path}
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
