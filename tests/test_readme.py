"""What the README says is tried: every block of code in it, and its figures."""

import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.signing import JSONSerializer
from django.test import RequestFactory

from django_valkey_sessions import client, codec, keys, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.conf import Conf
from django_valkey_sessions.signals import session_ended

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code.strip() for language, code in BLOCKS if language == "sh"]
SETTINGS = [code for code in PYTHON if "SESSION_ENGINE" in code]


def run(code):
    namespace = {}
    exec(code, namespace)  # noqa: S102
    return namespace


def test_there_is_no_other_kind_of_code():
    assert {language for language, _ in BLOCKS} == {"python", "sh"}


@pytest.mark.parametrize("code", PYTHON)
def test_a_block_of_python_runs(code):
    run(code)


@pytest.mark.parametrize("code", SETTINGS)
def test_a_block_of_settings_passes_the_checks_and_works(code, settings, engine):
    server = settings.VALKEY_SESSIONS["LOCATION"]
    names = {name: value for name, value in run(code).items() if name.isupper()}
    ours = names.setdefault("VALKEY_SESSIONS", {})
    for name, value in names.items():
        setattr(settings, name, value)
    assert [m for m in run_checks() if (m.id or "").startswith("valkey")] == []
    settings.VALKEY_SESSIONS = {**ours, "LOCATION": server, "PREFIX": engine}
    session = SessionStore()
    session["a"] = 1
    session.save()
    assert SessionStore(session.session_key)["a"] == 1


def test_the_handling_of_errors_does_what_it_says(own_engine):
    (code,) = [code for code in PYTHON if "def remember" in code]
    remember = run(code)["remember"]
    session = SessionStore()
    assert remember(session, "/one/") is True
    own_engine.kill()
    assert remember(session, "/two/") is False


def test_the_example_of_ending_sessions_does_what_it_says(engine):
    (code,) = [code for code in PYTHON if "end_old_visits" in code]
    for age, user in ((0, {}), (100_000, {}), (100_000, {"_auth_user_id": "1"})):
        id = keys.session_id(keys.new_session_key())
        payload = codec.serialize(user, JSONSerializer)
        blob = codec.pack(payload, id, int(time.time()) - age)
        client.execute(["SET", keys.stored_key(engine, id), blob])
    assert run(code)["end_old_visits"]() == 1
    assert sessions.count() == 2


def test_the_example_of_logging_out_everywhere_does_what_it_says(engine):
    (code,) = [code for code in PYTHON if "log_out_everywhere_else" in code]
    example = run(code)
    user = User(pk=7)
    mine, other = SessionStore(), SessionStore()
    for session in (mine, other):
        session["_auth_user_id"] = "7"
        session.save()
    request = SimpleNamespace(user=user, session=mine)
    assert example["log_out_everywhere_else"](request) == 1
    assert len(example["last_seen"](user)) == 1
    assert SessionStore().exists(mine.session_key)


def test_the_example_of_an_audit_log_does_what_it_says(engine, caplog):
    (code,) = [code for code in PYTHON if "session_ended" in code]
    caplog.set_level("INFO", "audit")
    receiver = run(code)["note"]
    session = SessionStore()
    session["_auth_user_id"] = "7"
    session.save()
    session.flush()
    session_ended.disconnect(receiver)
    assert "of user 7: logout." in caplog.text


@pytest.mark.parametrize(
    ("age", "leads_to", "left"), [(60, "/", 1), (7200, "/login/?next=/", 2)]
)
def test_the_example_of_asking_again_does_what_it_says(engine, age, leads_to, left):
    (code,) = [code for code in PYTHON if "def reauthenticate" in code]
    view = run(code)["CarefulView"].as_view()
    request = RequestFactory().post("/", {"end": "others"})
    request._dont_enforce_csrf_checks = True  # As Django's test client sets it.
    request.user = User(pk=7)
    at = int(time.time()) - age
    device = {"agent": "", "address": "", "at": at}
    for _ in range(2):
        request.session = SessionStore()
        request.session.update({"_auth_user_id": "7", "_device": device})
        request.session.save()
    assert view(request)["Location"] == leads_to
    assert sessions.count() == left


def test_the_commands_are_those_that_are_run():
    """The first by readme_commands.py, the second by .ci/run, the third by tox."""
    demo, tests, install = SHELL
    assert f'"""\n{demo}\n"""' in (ROOT / "tests/readme_commands.py").read_text()
    assert f'{{ {tests} && tox -e "$more"; }}' in (ROOT / ".ci/run").read_text()
    assert f'"{install}"' in (ROOT / "tests/installed.py").read_text()


def test_every_setting_is_described():
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| `(.+?)` \|", README, re.MULTILINE))
    assert sorted(rows) == sorted(Conf.names())
