"""Django's test client, its runner with several processes, and a live server."""

import re
import subprocess
import sys
import uuid

import pytest
from demo.walk import Visitor
from django.contrib.auth.models import User
from django.db import connection

from django_valkey_sessions import sessions
from django_valkey_sessions.backend import SessionStore

from .. import servers


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory):
    """A database in a file: one in memory stays open for good with a live server."""
    name = tmp_path_factory.mktemp("database") / "db.sqlite3"
    connection.settings_dict["TEST"]["NAME"] = str(name)


@pytest.fixture
def own_sessions(settings):
    """Sessions that no other test sees, in this process or another."""
    prefix = f"session:test:{uuid.uuid4().hex}:"
    settings.VALKEY_SESSIONS = {**settings.VALKEY_SESSIONS, "PREFIX": prefix}
    yield
    SessionStore.clear_all()


@pytest.fixture
def on_our_server(settings, server):
    settings.VALKEY_SESSIONS = {"LOCATION": server.url}


def test_djangos_runner_with_several_processes(own_server, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "manage.py", "test", "--parallel", "2"),
            "tests.friends.client_suite",
        ],
        cwd=servers.ROOT / "testproject",
        env=servers.site_environment(
            tmp_path,
            VALKEY_URL=own_server.url,
            DJANGO_SETTINGS_MODULE="tests.friends.settings",
        ),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"Ran 7 tests", done.stderr)
    with own_server.connect() as valkey:
        assert valkey.keys() == []


@pytest.mark.django_db
def test_a_live_server_knows_who_the_client_has_logged_in(
    on_our_server, own_sessions, live_server, client
):
    user = User.objects.create(username="ada")
    client.force_login(user)
    visitor = Visitor(int(live_server.url.rpartition(":")[2]))
    visitor.get("/login/")  # For a CSRF token.
    visitor.cookies["sessionid"] = client.session.session_key
    assert visitor.get("/data/").json()["user"] == "ada"
    visitor.post("/set/colour/", value="green")
    assert client.session["colour"] == "green"
    assert sessions.revoke_user(user) == 1
    assert visitor.get("/data/").json()["user"] is None
