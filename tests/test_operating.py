"""What docs/operating.md says is tried."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import django_valkey_sessions
from django_valkey_sessions import client, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.management import doctor
from django_valkey_sessions.management.commands.valkey_sessions import Command
from django_valkey_sessions.management.findings import FAIL, OK

from . import servers
from .test_rooms import SPEAKERS

PACKAGE = Path(django_valkey_sessions.__file__).parent
TEXT = (servers.ROOT / "docs/operating.md").read_text(encoding="utf-8")
ONE, CLUSTER = re.findall(r"^ACL SETUSER .+$", TEXT, re.MULTILINE)
RIGHTS = re.findall(r"\+([a-z]+)\b", ONE)
#: What the client needs to connect.
FOR_GLIDE = {"info"}
#: What is asked of sentinels, of clusters, and what only REPLICAS_ACK needs.
ELSEWHERE = {"sentinel", "cluster", "wait"}


def grant(own, line):
    with own.connect() as admin:
        assert admin.execute_command(*shlex.split(line)) in (True, b"OK")


@pytest.fixture
def guarded(settings):
    """A server whose user has the rights that the document gives."""
    own = servers.Server("--appendonly", "yes")
    grant(own, ONE)
    url = f"valkey://sessions:PASSWORD@127.0.0.1:{own.port}/0"
    settings.VALKEY_SESSIONS = {"LOCATION": url}
    yield own
    client.close()
    own.close()


def test_the_engine_needs_no_other_rights(guarded, settings):
    """Run its tests as that user."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-k", "not cluster"),
            *(
                f"tests/test_{name}.py"
                for name in ("session", "sessions", "index", "commands")
            ),
        ],
        cwd=servers.ROOT,
        env={
            **os.environ,
            "VALKEY_URL": settings.VALKEY_SESSIONS["LOCATION"],
            "VALKEY_ADMIN_URL": guarded.url,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 400
    with guarded.connect() as admin:
        refused = {entry["object"] for entry in admin.acl_log()}
    # They did run as that user.
    assert refused == {"client|setinfo"}


def test_each_right_is_one_that_is_needed():
    assert sorted(RIGHTS) == sorted((spelt() | FOR_GLIDE) - ELSEWHERE)
    assert "+cluster|slots" in CLUSTER  # Pages go from node to node.
    assert "`+wait`" in TEXT


def spelt():
    """Return the commands that the package spells, also in Lua."""
    found = set()
    client = (PACKAGE / "client").glob("*.py")
    rooms = (PACKAGE / f"{room}.py" for room in SPEAKERS - {"server"})
    for path in (*rooms, *client):
        source = path.read_text()
        found |= set(re.findall(r"redis\.call\('([A-Z]+)'", source))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.List) and node.elts:
                first = node.elts[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found |= set(re.findall(r"^[A-Z]{2,}$", first.value))
    return {word.lower() for word in found - {"PX"}}  # Which begins options of SET.


@pytest.mark.parametrize("right", RIGHTS)
def test_doctor_finds_that_a_right_is_missing(guarded, right):
    assert FAIL not in {finding.level for finding in doctor.examine()}
    grant(guarded, f"ACL SETUSER sessions -{right}")
    client.close()
    failed = [finding for finding in doctor.examine() if finding.level == FAIL]
    assert [f for f in failed if right.upper() in f.text]


def test_doctor_finds_that_the_keys_are_missing(guarded):
    grant(guarded, "ACL SETUSER sessions resetkeys ~other:*")
    failed = [finding for finding in doctor.examine() if finding.level == FAIL]
    assert [f for f in failed if "'session:'" in f.text and "~session:*" in f.advice]


def test_on_a_cluster_it_needs_those_that_are_told(clustered, settings):
    for node in clustered:
        grant(node, ONE)
        grant(node, CLUSTER)
    urls = [
        f"valkey://sessions:PASSWORD@127.0.0.1:{node.port}" for node in clustered[:2]
    ]
    settings.VALKEY_SESSIONS = {"LOCATION": urls, "CLUSTER": True}
    for number in range(20):
        session = SessionStore()
        session["_auth_user_id"] = "7"
        session["n"] = number
        session.save()
        session["n"] += 1
        session.save()
        session.cycle_key()
        assert SessionStore(session.session_key)["n"] == number + 1
    assert sessions.revoke_user("7") == 20
    SessionStore.clear_expired()
    found = {finding.check: finding.level for finding in doctor.examine()}
    assert (found["rights"], found["cluster"]) == (OK, OK)


def test_every_check_of_doctor_is_described():
    rows = re.findall(r"^\| `([a-z]+)` \|", TEXT, re.MULTILINE)
    assert rows == list(doctor.CHECKS)


def test_every_command_line_can_be_used():
    lines = re.findall(r"^\$ python manage.py (valkey_sessions .+)$", TEXT, re.M)
    used = set()
    for line in lines:
        name, *words = shlex.split(line)
        options = Command().create_parser("manage.py", name).parse_args(words)
        used.add(options.subcommand)
    assert used == subcommands() - {"import"}  # Which docs/moving-in.md describes.


def test_the_readme_names_every_subcommand():
    readme = (servers.ROOT / "README.md").read_text(encoding="utf-8")
    _, _, table = readme.partition("On the command line")
    rows = re.findall(r"^\| `([a-z]+)\b[^`]*` \|", table, re.MULTILINE)
    assert sorted(rows) == sorted(subcommands())


def subcommands():
    parser = Command().create_parser("manage.py", "valkey_sessions")
    (action,) = (a for a in parser._actions if a.dest == "subcommand")
    return set(action.choices)
