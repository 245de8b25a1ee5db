"""The system checks: each mistake is found, and nothing else is."""

import ast
import io
import os
import re
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.checks import Error, Warning
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.core.signing import JSONSerializer

from django_valkey_sessions import checks
from django_valkey_sessions.checks import check_deployment, check_settings

PACKAGE = Path(checks.__file__).parent
FORTNIGHT = 14 * 86400
DB = "django.contrib.sessions.backends.db"


def client():
    raise AssertionError("No check may make a client.")


class SessionStore(SessionBase):
    """Of an engine whose app is not installed."""

    @classmethod
    def get_model_class(cls):
        class Session(AbstractBaseSession):
            pass


@pytest.fixture(autouse=True)
def defaults(settings):
    """Django's defaults of what the checks look at."""
    settings.VALKEY_SESSIONS = {}
    settings.SESSION_COOKIE_AGE = FORTNIGHT
    settings.SESSION_SAVE_EVERY_REQUEST = False
    settings.SESSION_EXPIRE_AT_BROWSER_CLOSE = False


@pytest.fixture
def found(settings):
    """Return what the checks find with these settings."""

    def found(VALKEY_SESSIONS, **others):
        settings.VALKEY_SESSIONS = VALKEY_SESSIONS
        for name, value in others.items():
            setattr(settings, name, value)
        return [*check_settings(), *check_deployment()]

    return found


def ids(messages):
    return [message.id.removeprefix("valkey_sessions.") for message in messages]


# Each id, and settings that deserve it and no other: VALKEY_SESSIONS, and Django's.

EVERY_REQUEST = {"SESSION_SAVE_EVERY_REQUEST": True}
OURS = "django_valkey_sessions.middleware.SessionMiddleware"
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
STOCK = {"MIDDLEWARE": [DJANGOS, AUTHENTICATION]}

DESERVED = [
    ("E001", ["PREFIX"], {}),
    ("E001", None, {}),
    ("E002", {"PREFX": "s:"}, {}),
    ("E002", {"prefix": "s:"}, {}),
    ("E003", {"LOCATION": 6379}, {}),
    ("E004", {"LOCATION": "http://127.0.0.1"}, {}),
    ("E005", {"LOCATION": ["valkey://a", "valkeys://b"]}, {}),
    ("E006", {"CLUSTER": "yes"}, {}),
    ("E007", {"CLUSTER": True, "LOCATION": "unix:///run/v"}, {}),
    ("E008", {"OPTIONS": []}, {}),
    ("E009", {"OPTIONS": {"request_time_out": 250}}, {}),
    ("E009", {"OPTIONS": {"request_timeout": "250"}}, {}),
    ("E009", {"OPTIONS": {"request_timeout": -1}}, {}),
    ("E009", {"OPTIONS": {"connection_timeout": "250"}}, {}),
    ("E009", {"OPTIONS": {"reconnect_strategy": 5}}, {}),
    ("E009", {"OPTIONS": {"read_from": "primary"}}, {}),
    ("E009", {"OPTIONS": {"credentials": "hunter2"}}, {}),
    ("E009", {"OPTIONS": {"advanced_config": 5}}, {}),
    (
        "E009",
        {"OPTIONS": {"advanced_config": None, "connection_timeout": 250}},
        {},
    ),
    ("E009", {"OPTIONS": {"request_time_out": 250}, "CLUSTER": True}, {}),
    ("E010", {"CLIENT": "nowhere.client"}, {}),
    ("E011", {"ASYNC": "yes"}, {}),
    ("E012", {"CLIENT": client, "LOCATION": "valkey://127.0.0.1"}, {}),
    ("E012", {"CLIENT": client, "OPTIONS": {"request_timeout": 250}}, {}),
    ("E013", {"PREFIX": ""}, {}),
    ("E014", {"TTL": "3600"}, {}),
    ("E015", {"EXPIRE": 0}, {}),
    ("E016", {"TOUCH": 0}, {}),
    ("E017", {"TOUCH_INTERVAL": "60"}, {}),
    ("E018", {"MAX_LIFETIME": 0}, {}),
    ("E019", {"MERGE": {"n": "nowhere.rule"}}, {}),
    ("E020", {"SERIALIZER": "nowhere.Serializer"}, {}),
    ("E021", {"SEAL": 0}, {}),
    ("E022", {"DICTIONARY": 16}, {}),
    ("E022", {"DICTIONARY": "nowhere/site.zdict"}, {}),
    ("E022", {"DICTIONARY": __file__}, {}),
    ("E023", {"SCAN_COUNT": 0}, {}),
    ("E024", {"OPTIONS": {"addresses": []}}, {}),
    ("E024", {"OPTIONS": {"use_tls": True}}, {}),
    ("E024", {"OPTIONS": {"database_id": 1}}, {}),
    ("E025", {"CLIENT": client, "ASYNC": "native"}, {}),
    ("E028", {"USER_INDEX": 0}, {}),
    ("E029", {"MAX_SESSIONS_PER_USER": 0}, {}),
    ("E035", {"MAX_SESSIONS_PER_USER": 5, "USER_INDEX": False}, {}),
    ("E036", {"RECORD_DEVICE": "yes"}, {}),
    ("E030", {"PREVIOUS_ENGINE": True}, {}),
    ("E031", {"PREVIOUS_ENGINE": "nowhere"}, {}),
    ("E032", {"PREVIOUS_ENGINE": "django_valkey_sessions.backend"}, {}),
    ("E033", {"PREVIOUS_ENGINE": __name__}, {}),
    ("E034", {"PREVIOUS_ENGINE": DB, "CLUSTER": True, "PREFIX": "s{:"}, {}),
    ("E034", {"PREVIOUS_ENGINE": DB, "CLUSTER": True, "PREFIX": "s}:"}, {}),
    ("E034", {"PREVIOUS_ENGINE": DB, "CLUSTER": True, "PREFIX": "{}:"}, {}),
    ("E037", {"PASSIVE_PATHS": "/poll/"}, {}),
    ("E037", {"PASSIVE_PATHS": ["poll/"]}, {}),
    ("E026", {"CLUSTER": True, "LOCATION": "sentinel://127.0.0.1/main"}, {}),
    ("E027", {"REPLICAS_ACK": -1}, {}),
    ("E027", {"REPLICAS_ACK": 1, "CLUSTER": True}, {}),
    ("E038", {"RENEW_AFTER": "1 h"}, {}),
    ("E038", {"RENEW_AFTER": 59}, {}),
    ("W014", {"RENEW_AFTER": 3600}, STOCK),
    ("W001", {"LOCATION": "valkey://cache.example"}, {}),
    ("W001", {"LOCATION": "sentinel://127.0.0.1,cache.example/main"}, {}),
    ("W001", {"LOCATION": "valkey://10.0.0.1"}, {}),
    ("W001", {"LOCATION": "valkey://[2001:db8::1]"}, {}),
    ("W001", {"LOCATION": ["valkey://127.0.0.1", "valkey://b"]}, {}),
    ("W002", {"SEAL": False}, {}),
    ("W003", {"TOUCH": False, "TOUCH_INTERVAL": 60}, {}),
    ("W003", {"TOUCH": False, "TOUCH_INTERVAL": 0}, {}),
    ("W004", {"TOUCH_INTERVAL": FORTNIGHT}, {}),
    ("W004", {"TOUCH_INTERVAL": 900, "TTL": 900}, EVERY_REQUEST),
    ("W004", {"TOUCH_INTERVAL": timedelta(days=15)}, {}),
    ("W005", {"TTL": FORTNIGHT + 1}, {}),
    ("W005", {"TTL": timedelta(days=30)}, EVERY_REQUEST),
    ("W006", {"TTL": 3600, "MAX_LIFETIME": 1800}, EVERY_REQUEST),
    ("W007", {"TTL": 3600}, STOCK),
    ("W007", {"TTL": 3600}, {**STOCK, "SESSION_EXPIRE_AT_BROWSER_CLOSE": True}),
    ("W007", {"TTL": 3600, "TOUCH": False}, {}),
    ("W008", {"TOUCH": False}, EVERY_REQUEST),
    ("W009", {"CLUSTER": True, "PREFIX": "{s}:"}, {}),
    ("W013", {"RECORD_DEVICE": True}, {"SESSION_ENGINE": DB}),
    ("W009", {"CLUSTER": True, "PREFIX": "a{b}c{d}"}, {}),
    ("W012", {}, {"MIDDLEWARE": [OURS, DJANGOS]}),
    ("W012", {}, {"MIDDLEWARE": [OURS, OURS]}),
    ("W012", {}, {"MIDDLEWARE": [AUTHENTICATION, OURS]}),
]


@pytest.mark.parametrize(("id", "ours", "others"), DESERVED)
def test_a_mistake_is_found_under_its_id(found, id, ours, others):
    assert ids(found(ours, **others)) == [id]


@pytest.mark.parametrize(("id", "ours", "others"), DESERVED)
def test_a_mistake_is_told_as_what_it_is_with_a_hint(found, id, ours, others):
    (message,) = found(ours, **others)
    assert type(message) is {"E": Error, "W": Warning}[id[0]]
    assert message.msg
    assert message.hint


# What deserves nothing.

FINE = [
    ({}, {}),
    ({}, EVERY_REQUEST),
    ({"LOCATION": "valkey://127.0.0.1:7000/1"}, {}),
    ({"LOCATION": "valkey://127.3.2.1"}, {}),
    ({"LOCATION": "valkey://localhost"}, {}),
    ({"LOCATION": "valkey://cache.localhost"}, {}),
    ({"LOCATION": "valkey://[::1]"}, {}),
    ({"LOCATION": "valkeys://cache.example"}, {}),
    ({"LOCATION": "rediss://ada:hunter2@10.0.0.1"}, {}),
    ({"LOCATION": "unix:///run/v"}, {}),
    ({"LOCATION": ["valkeys://a", "valkeys://b"], "CLUSTER": True}, {}),
    ({"CLIENT": client}, {}),
    ({"CLIENT": client, "ASYNC": "thread"}, {}),
    ({"ASYNC": "native"}, {}),
    ({"OPTIONS": {"request_timeout": 250, "connection_timeout": 250}}, {}),
    ({"OPTIONS": {"request_timeout": 250}, "CLUSTER": True}, {}),
    ({"OPTIONS": {"request_timeout": 250}, "LOCATION": "unix:///run/v"}, {}),
    ({"OPTIONS": {"lib_name": "x"}, "LOCATION": "valkeys://u:p@a/1"}, {}),
    ({"OPTIONS": {"use_insecure_tls": True}, "LOCATION": "valkeys://a"}, {}),
    ({"TTL": FORTNIGHT}, {}),
    ({"TTL": FORTNIGHT + 1}, {"SESSION_EXPIRE_AT_BROWSER_CLOSE": True}),
    ({"TTL": 3600}, EVERY_REQUEST),
    ({"TTL": 3600}, {"MIDDLEWARE": [OURS, AUTHENTICATION]}),
    ({}, STOCK),
    ({}, {"MIDDLEWARE": []}),
    (
        {},
        {
            "MIDDLEWARE": [
                AUTHENTICATION,
                "a.missing.one",
                "testproject.middleware.Cost",
            ]
        },
    ),
    ({"TTL": 3600, "MAX_LIFETIME": 3600}, EVERY_REQUEST),
    ({"TTL": lambda session: 3600, "MAX_LIFETIME": 1}, {}),
    ({"TTL": lambda session: 3600, "TOUCH_INTERVAL": 7200}, {}),
    ({"MAX_LIFETIME": 3600}, {}),
    ({"RENEW_AFTER": 3600}, {}),
    ({"TOUCH_INTERVAL": FORTNIGHT - 1}, {}),
    ({"TOUCH_INTERVAL": 0}, {}),
    ({"TOUCH": False}, {}),
    ({"PREFIX": "{s}:"}, {}),
    ({"PREFIX": "s{:", "CLUSTER": True}, {}),
    ({"PREFIX": "}{", "CLUSTER": True}, {}),
    ({"PREFIX": "{}:", "CLUSTER": True}, {}),
    ({"RECORD_DEVICE": True}, {}),
    ({"RECORD_DEVICE": True}, {"SESSION_ENGINE": "nowhere"}),
    ({"RECORD_DEVICE": len}, {"SESSION_ENGINE": "django_valkey_sessions.backend"}),
    ({"PREVIOUS_ENGINE": DB}, {}),
    ({"PREVIOUS_ENGINE": "django.contrib.sessions.backends.cache"}, {}),
    ({"PREVIOUS_ENGINE": DB, "CLUSTER": True}, {}),
    ({"PREVIOUS_ENGINE": DB, "PREFIX": "s{:"}, {}),
    ({"SERIALIZER": JSONSerializer, "MERGE": {"n": max}, "EXPIRE": False}, {}),
]


@pytest.mark.parametrize(("ours", "others"), FINE)
def test_settings_without_a_mistake_are_not_complained_about(found, ours, others):
    assert found(ours, **others) == []


def test_a_project_without_valkey_sessions_is_not_complained_about(settings):
    del settings.VALKEY_SESSIONS
    assert [*check_settings(), *check_deployment()] == []


# More than one mistake.


def test_all_wrong_values_are_found_at_once(found):
    wrong = {"PREFX": 1, "prefix": 1, "SEAL": 0, "TTL": "x", "CLUSTER": 1}
    messages = found(wrong)
    assert sorted(ids(messages)) == ["E002", "E002", "E006", "E014", "E021"]


def test_a_bad_dictionary_is_told_beside_other_mistakes(found):
    messages = found({"DICTIONARY": "nowhere/site.zdict", "SEAL": 0})
    assert sorted(ids(messages)) == ["E021", "E022"]


def test_a_wrong_value_keeps_other_settings_from_being_compared(found):
    """What contradicts what can't be told of values that can't be read."""
    assert ids(found({"SEAL": 0, "TTL": 3600, "LOCATION": "valkey://b"})) == ["E021"]


def test_all_contradictions_are_found_at_once(found):
    ours = {
        "CLIENT": client,
        "LOCATION": "valkey://127.0.0.1",
        "ASYNC": "native",
        "TOUCH": False,
        "TOUCH_INTERVAL": 60,
        "TTL": FORTNIGHT * 2,
        "MAX_LIFETIME": 3600,
        "SEAL": False,
    }
    assert sorted(ids(found(ours))) == [
        "E012",
        "E025",
        "W002",
        "W003",
        "W005",
        "W006",
    ]


# What the messages say.


@pytest.mark.parametrize("long", [30 * 86400, 400 * 86400])
def test_seconds_are_told_in_full(found, long):
    (message,) = found({"TTL": long})
    assert f"TTL in VALKEY_SESSIONS is {long} s" in message.msg


def test_the_hosts_without_encryption_are_named(found):
    hosts = ["valkey://a:1", "valkey://127.0.0.1", "valkey://b"]
    (message,) = found({"LOCATION": hosts})
    assert "Valkey at a, b is not encrypted" in message.msg


@pytest.mark.parametrize(
    "ours",
    [
        {"LOCATION": "http://ada:hunter2@h"},
        {"LOCATION": "valkey://ada:hunter2@h"},
        {"LOCATION": ["valkey://:hunter2@h", "valkey://i"]},
        {"LOCATION": "unix://:hunter2@/run/v", "CLUSTER": True},
        {"LOCATION": "valkey://:hunter2@127.0.0.1", "CLIENT": client},
        {"LOCATION": "valkey://:hunter2@127.0.0.1", "OPTIONS": {"unknown": 1}},
        {"OPTIONS": {"password": "hunter2"}},
        {"OPTIONS": {"addresses": "valkey://:hunter2@h"}},
    ],
)
def test_no_message_shows_a_password(found, ours):
    messages = found(ours)
    assert messages
    assert "hunter2" not in "".join(map(str, messages))


# The ids in the docstring, in the code, and here.


def documented():
    return re.findall(r"^([EW]\d{3})    \S", checks.__doc__, re.MULTILINE)


def used():
    """Return the ids that the package's code gives to messages."""
    constants = {
        node.value
        for source in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {
        constant.removeprefix("valkey_sessions.")
        for constant in constants
        if re.fullmatch(r"(valkey_sessions\.)?[EW]\d{3}", constant)
    }


def test_each_id_is_documented_once():
    assert len(documented()) == len(set(documented()))


def test_the_documented_ids_are_those_in_the_code():
    assert set(documented()) == used()


def test_the_documented_ids_are_those_tested_here():
    assert set(documented()) == {id for id, *_ in DESERVED}


# manage.py check.


def checked(**options):
    out = io.StringIO()
    call_command("check", stdout=out, stderr=out, **options)
    return out.getvalue()


def test_manage_check_runs_the_checks(settings):
    settings.VALKEY_SESSIONS = {"PREFX": "s:"}
    with pytest.raises(SystemCheckError, match=r"valkey_sessions\.E002"):
        checked()


def test_manage_check_shows_warnings(settings):
    settings.VALKEY_SESSIONS = {"TOUCH_INTERVAL": 60, "TOUCH": False}
    assert "valkey_sessions.W003" in checked()


@pytest.mark.parametrize(
    ("id", "ours"),
    [("W001", {"LOCATION": "valkey://cache.example"}), ("W002", {"SEAL": False})],
)
def test_what_is_fine_on_a_laptop_is_told_for_deployment_only(settings, id, ours):
    settings.VALKEY_SESSIONS = ours
    assert f"valkey_sessions.{id}" not in checked()
    assert f"valkey_sessions.{id}" in checked(deploy=True)
    assert f"valkey_sessions.{id}" in checked(deploy=True, tags=["security"])


def test_a_check_can_be_silenced_by_its_id(settings):
    settings.VALKEY_SESSIONS = {"SEAL": False}
    settings.SILENCED_SYSTEM_CHECKS = ["valkey_sessions.W002"]
    assert "valkey_sessions" not in checked(deploy=True)


def test_manage_check_finds_nothing_in_the_defaults():
    assert "valkey_sessions" not in checked(deploy=True)


# What checks must not do: they run before a server forks, where a command would break
# GLIDE's time-outs in the children.


@pytest.fixture
def listening():
    """A socket that nobody accepts connections of."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.mark.parametrize("cluster", [False, True])
def test_checks_connect_to_nothing(settings, listening, cluster):
    settings.VALKEY_SESSIONS = {
        "LOCATION": f"valkey://127.0.0.1:{listening.getsockname()[1]}",
        "OPTIONS": {"request_timeout": 250},
        "CLUSTER": cluster,
    }
    checked(deploy=True)
    with pytest.raises(BlockingIOError):
        listening.accept()


def test_checks_do_not_call_the_sites_own_client(settings):
    settings.VALKEY_SESSIONS = {"CLIENT": client}
    assert "valkey_sessions" not in checked(deploy=True)


def test_checks_of_the_defaults_do_not_import_glide():
    code = (
        "import sys, django\n"
        "from django.conf import settings\n"
        "from django.core.management import call_command\n"
        "settings.configure(SECRET_KEY='x' * 50,\n"
        "    INSTALLED_APPS=['django_valkey_sessions'],\n"
        "    SESSION_ENGINE='django_valkey_sessions.backend')\n"
        "django.setup()\n"
        "call_command('check', deploy=True)\n"
        "print(*(n for n in sys.modules if n.startswith('glide')), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "security.W" in done.stderr  # The checks did run.
    assert "glide" not in done.stderr
