"""
Install the built wheel in an environment of its own, away from the checkout, and look
whether it is whole.

    python tests/installed.py FOLDER_WITH_THE_WHEEL
"""

import os
import shlex
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

#: What is not code, and so needs to be named in setup.cfg.
FILES = (
    *("py.typed", "dictionaries/1.zdict", "dictionaries/2.zdict", "LICENSE"),
    *("locale/de/LC_MESSAGES/django.mo", "locale/en/LC_MESSAGES/django.mo"),
    "templates/django_valkey_sessions/session_list.html",
    "templates/django_valkey_sessions/unavailable.html",
    "templates/admin/django_valkey_sessions/session/change_list.html",
)

PROBE = """
import django
from django.conf import settings
from django.core.management import call_command, get_commands

settings.configure(
    SECRET_KEY="a secret of the probe",
    INSTALLED_APPS=["django_valkey_sessions"],
    SESSION_ENGINE="django_valkey_sessions.backend",
)
django.setup()
call_command("check", fail_level="WARNING")
assert "valkey_sessions" in get_commands(), "the command is not in the wheel"

import django_valkey_sessions
from django_valkey_sessions import codec, keys

id = keys.session_id(keys.new_session_key())
payload = b'{"_auth_user_id":"1"}' * 10
blob = codec.pack(payload, id, 1)
assert codec.unpack(blob, id).payload == payload
assert blob[1] & codec.DICTIONARY == codec.SHIPPED, "the dictionary is not used"
print("installed:", django_valkey_sessions.__version__, django_valkey_sessions.__file__)
"""


def main(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python"
        # As the README says, but for where the package comes from.
        install = shlex.split("python -m pip install django-valkey-sessions")[1:]
        install += ["--quiet", "--find-links", str(wheel.parent.resolve())]
        subprocess.run([str(python), *install], check=True, cwd=folder)
        files = subprocess.run(
            [str(python), "-m", "pip", "show", "--files", "django-valkey-sessions"],
            check=True,
            cwd=folder,
            capture_output=True,
            text=True,
        ).stdout
        for name in FILES:
            assert name in files, f"{name} is not in the wheel:\n{files}"
        for name in ("tests", "testproject", "benchmarks"):
            assert f"  {name}/" not in files, f"{name} is in the wheel:\n{files}"
        subprocess.run([str(python), "-c", PROBE], check=True, cwd=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
