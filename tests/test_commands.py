"""manage.py valkey_sessions, on a real server; where it ends, as a process."""

import array
import csv
import fcntl
import io
import json
import os
import re
import signal
import subprocess
import sys
import termios
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from django_valkey_sessions import client, codec, keys, scripts, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.management import progress

from . import servers
from .conftest import evaluates

UNKNOWN = "0" * 32
FORMATS = ("table", "json", "csv")


@pytest.fixture
def answer(monkeypatch):
    """Answer the question that comes; EOFError is raised."""

    def answer(text):
        def reply():
            if isinstance(text, type):
                raise text
            return text

        monkeypatch.setattr("builtins.input", reply)

    return answer


def new_session(user=None, **data):
    session = SessionStore()
    session.update(data if user is None else {"_auth_user_id": user, **data})
    session.save()
    return session


def id_of(session):
    return keys.session_id(session.session_key)


def store(id, created=None, **data):
    """Store a session as one that was created at some time."""
    moment = created or datetime.now(UTC)
    blob = codec.pack(json.dumps(data).encode(), id, int(moment.timestamp()))
    client.execute(["SET", keys.stored_key(sessions.conf.PREFIX, id), blob])


def alive():
    return {info.id for info in sessions.iterate()}


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def error_of(run, *words, **options):
    with pytest.raises(CommandError) as caught:
        run(*words, **options)
    return caught.value


# list


def test_a_table_has_a_line_for_each_session(run):
    user, visitor = new_session("7"), new_session()
    header, *rows = run("list").out.splitlines()
    assert header.split() == ["id", "user", "created", "expires", "size"]
    cells = {row.split()[0]: row.split()[1] for row in rows}
    assert cells == {id_of(user): "7", id_of(visitor): "-"}


def test_times_in_a_table_are_those_of_the_site(run, settings):
    settings.TIME_ZONE = "Asia/Kolkata"
    session = new_session("7")
    created = sessions.get(id_of(session)).created + timedelta(hours=5, minutes=30)
    assert f"{created:%Y-%m-%d %H:%M}" in run("list").out
    assert f"{created:%Y-%m-%d %H:%M:%S} IST" in run("show", id_of(session)).out


def test_json_is_one_array(run):
    session = new_session("7")
    (row,) = json.loads(run("list", format="json").out)
    info = sessions.get(id_of(session))
    assert (row["id"], row["user"], row["size"]) == (info.id, "7", info.size)
    assert row["created"] == f"{info.created:%Y-%m-%dT%H:%M:%SZ}"
    left = datetime.fromisoformat(row["expires"]) - datetime.now(UTC)
    assert timedelta(days=13, hours=23) < left <= timedelta(days=14)


def test_csv_has_a_header(run):
    ids = {id_of(new_session(user)) for user in ("7", "a,b", None)}
    rows = list(csv.DictReader(io.StringIO(run("list", format="csv").out)))
    assert {row["id"] for row in rows} == ids
    assert {row["user"] for row in rows} == {"7", "a,b", ""}
    assert list(rows[0]) == ["id", "user", "created", "expires", "size"]


@pytest.mark.parametrize("kind", FORMATS)
def test_more_than_a_page_is_listed_in_full(run, kind, valkey_sessions):
    valkey_sessions(SCAN_COUNT=10)
    ids = {id_of(new_session(str(n))) for n in range(250)}
    out = run("list", format=kind).out
    assert set(re.findall(r"\b[0-9a-f]{32}\b", out)) == ids
    assert len(out.splitlines()) == 250 + {"table": 1, "json": 2, "csv": 1}[kind]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "out"), [("table", ""), ("json", "[]\n"), ("csv", None)]
)
def test_where_there_is_none_the_output_is_empty_and_well_formed(run, kind, out):
    said = run("list", format=kind)
    assert said.out == ("id,user,created,expires,size\n" if out is None else out)
    assert said.err == "There are none.\n"
    assert run("list", format=kind, verbosity=0).err == ""
    assert run("list", "--user=7", format=kind, verbosity=1).err.startswith("There are")


def test_a_limit_ends_the_reading(run, valkey_sessions, before_each_trip):
    valkey_sessions(SCAN_COUNT=5)
    for _ in range(100):
        new_session("7")
    scans = []
    before_each_trip(lambda trip: scans.append(trip) if trip[0] == "SCAN" else None)
    assert len(json.loads(run("list", "--limit=3", format="json").out)) == 3
    assert len(scans) < 5


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_a_limit_is_a_number_from_one_on(run, limit):
    assert "whole number" in str(error_of(run, "list", f"--limit={limit}"))


def listed(run, *words):
    return [row["id"] for row in json.loads(run("list", *words, format="json").out)]


def test_sorting_keeps_the_first(run):
    now = datetime.now(UTC)
    new, old = "1" * 32, "2" * 32
    store(new, now, a=1)
    store(old, now - timedelta(days=3), a="".join(map(str, range(500))))
    client.execute(["SET", keys.stored_key(sessions.conf.PREFIX, UNKNOWN), "?"])
    client.execute(["PEXPIRE", keys.stored_key(sessions.conf.PREFIX, old), "100000"])
    client.execute(["PEXPIRE", keys.stored_key(sessions.conf.PREFIX, new), "200000"])
    assert listed(run, "--sort=expires", "--limit=9") == [old, new, UNKNOWN]
    assert listed(run, "--sort=created", "--limit=9") == [new, old, UNKNOWN]
    assert listed(run, "--sort=size", "--limit=2") == [old, new]


def test_sorting_all_is_refused_with_a_way_out(run):
    error = error_of(run, "list", "--sort=size")
    assert "--limit" in str(error)
    assert "| sort" in str(error)


def test_what_is_unreadable_or_never_expires_is_listed_as_such(run):
    client.execute(["SET", keys.stored_key(sessions.conf.PREFIX, UNKNOWN), "?"])
    assert run("list").out.splitlines()[1].split() == [
        *(UNKNOWN, "unreadable", "-", "never", "1")
    ]
    (row,) = json.loads(run("list", format="json").out)
    assert (row["user"], row["created"], row["expires"]) == (None, None, None)


def test_nothing_stored_steers_a_terminal(run, look):
    new_session("\x1b[2J\x9b[red]")
    out = run("list", terminal=True).out
    assert "\x1b[2J" not in out
    assert "\x9b" not in out
    assert r"\x1b[2J\x9b[red]" in plain(out)


def test_on_a_terminal_the_same_is_told_with_and_without_rich(run, look):
    ids = {id_of(new_session("7")) for _ in range(205)}
    lines = plain(run("list", terminal=True).out).splitlines()
    assert lines[0].split() == ["id", "user", "created", "expires", "size"]
    assert {line.split()[0] for line in lines[1:]} == ids
    assert len({len(line.rstrip()) for line in lines}) == 1


def test_a_narrow_terminal_breaks_no_id(run, look, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    session = new_session("7")
    assert id_of(session) in plain(run("list", terminal=True).out)


def test_colours_are_a_matter_of_the_terminal_and_of_options(run):
    new_session("7")
    assert "\x1b" not in run("list").out
    assert "\x1b" in run("list", "--force-color").out
    assert "\x1b[3" not in run("list", "--no-color", terminal=True).out


@pytest.mark.django_db
def test_a_user_is_given_by_id_or_name(run):
    ada = User.objects.create_user("ada")
    session = new_session(str(ada.pk))
    new_session(str(ada.pk + 1))
    new_session()
    for text in ("ada", ada.pk, f"0{ada.pk}"):
        assert listed(run, f"--user={text}") == [id_of(session)]
        assert listed(run, f"--user={text}", "--sort=size") == [id_of(session)]


@pytest.mark.django_db
def test_a_user_who_is_no_more_is_given_by_id(run):
    session = new_session("777")
    assert listed(run, "--user=777") == [id_of(session)]


@pytest.mark.django_db
def test_who_is_no_user_is_refused(run):
    assert "neither the id nor the name" in str(error_of(run, "list", "--user=ada"))


@pytest.mark.django_db
def test_an_id_that_is_the_name_of_another_is_refused(run):
    first = User.objects.create_user("ada")
    second = User.objects.create_user(str(first.pk))
    session = new_session(str(second.pk))
    error = error_of(run, "clear", f"--user={first.pk}", "--noinput")
    assert repr(str(second.pk)) in str(error)
    assert listed(run, f"--user={second.pk}") == [id_of(session)]
    first.delete()
    assert listed(run, f"--user={second.username}") == [id_of(session)]


def test_a_site_without_users_has_ids(run, settings):
    settings.AUTH_USER_MODEL = "nowhere.User"
    session = new_session("x7")
    assert listed(run, "--user=x7") == [id_of(session)]


@pytest.mark.django_db
def test_a_database_that_does_not_answer_is_named(run, monkeypatch):
    from django.db import OperationalError

    def fail(*args, **options):
        raise OperationalError("no such table")

    monkeypatch.setattr(User._default_manager.__class__, "filter", fail)
    assert "no such table" in str(error_of(run, "list", "--user=7"))


# clear


def test_without_a_choice_nothing_that_is_alive_is_ended(run, valkey_sessions):
    user, visitor = new_session("7"), new_session()
    valkey_sessions(EXPIRE=False, TTL=0.05)
    expired = new_session("7")
    time.sleep(0.1)
    assert run("clear").out == "What had expired is removed.\n"
    assert alive() == {id_of(user), id_of(visitor)}
    assert sessions.count() == 2
    assert not client.execute(["EXISTS", sessions.conf.PREFIX + id_of(expired)])


def test_all_are_ended_after_a_yes(run, answer, server):
    for _ in range(3):
        new_session("7")
    answer("yes")
    said = run("clear", "--all")
    assert said.out == "3 sessions ended.\n"
    assert repr(sessions.conf.PREFIX) in said.err
    assert str(sessions.conf.LOCATION) in said.err
    assert "3 sessions" in said.err
    assert sessions.count() == 0


@pytest.mark.parametrize("text", ["no", "", "y", "Yes", EOFError])
def test_anything_but_yes_cancels(run, answer, text):
    session = new_session("7")
    answer(text)
    for choice in ("--all", "--anonymous", "--created-before=9999-01-01"):
        new_session()
        error = error_of(run, "clear", choice)
        assert str(error) == "Cancelled. No session was ended."
    assert id_of(session) in alive()
    assert sessions.count() == 4


def test_the_question_tells_no_password(
    run, answer, valkey_sessions, before_each_trip, monkeypatch
):
    new_session("7")
    answer("no")
    monkeypatch.setattr(sessions, "count", lambda: 1)
    valkey_sessions(LOCATION="valkey://ann:hunter2@cache.internal:7000/3")
    said = error_of(run, "clear", "--all").said
    assert "cache.internal:7000, database 3" in said.err
    assert "hunter2" not in said.err
    assert "ann" not in said.err
    valkey_sessions(CLIENT=lambda: None)
    assert "CLIENT in VALKEY_SESSIONS" in error_of(run, "clear", "--all").said.err


def test_without_input_nobody_is_asked(run, answer):
    answer(AssertionError)
    new_session("7")
    assert run("clear", "--all", "--no-input").out == "1 session ended.\n"
    assert run("clear", "--all").out == "0 sessions ended.\n"
    new_session("7")
    assert run("clear", "--all", interactive=False, verbosity=0).out == ""
    assert sessions.count() == 0


@pytest.mark.django_db
def test_the_sessions_of_one_user_are_ended(run):
    ada = User.objects.create_user("ada")
    for _ in range(3):
        new_session(str(ada.pk))
    others = {id_of(new_session("777")), id_of(new_session())}
    assert run("clear", "--user=ada", "--noinput").out == "3 sessions ended.\n"
    assert alive() == others


def test_anonymous_are_those_that_can_be_read(run):
    user = new_session("7")
    new_session()
    client.execute(["SET", keys.stored_key(sessions.conf.PREFIX, UNKNOWN), "?"])
    assert run("clear", "--anonymous", "--noinput").out == "1 session ended.\n"
    assert alive() == {id_of(user), UNKNOWN}


@pytest.mark.parametrize(
    ("before", "left"),
    [
        ("2026-03-01", {"2", "3"}),
        ("2026-03-01T10:00", {"3"}),
        ("2026-02-28T23:30:00Z", {"2", "3"}),
        ("2026-02-28T18:29:31Z", {"2", "3"}),
        ("2026-02-28T18:29:30Z", {"1", "2", "3"}),
    ],
)
def test_old_ones_are_ended_by_the_time_of_the_site(run, settings, before, left):
    settings.TIME_ZONE = "Asia/Kolkata"
    zone = timezone.get_default_timezone()
    moments = ((2026, 2, 28, 23, 59, 30), (2026, 3, 1, 6), (2026, 3, 1, 10))
    for number, moment in enumerate(moments, 1):
        store(str(number) * 32, datetime(*moment, tzinfo=zone))
    run("clear", f"--created-before={before}", "--noinput")
    assert {id[0] for id in alive()} == left


@pytest.mark.parametrize("before", ["yesterday", "", "2026-13-01"])
def test_what_is_no_date_is_refused(run, before):
    error = error_of(run, "clear", f"--created-before={before}")
    assert "such as 2026-03-01" in str(error)


def test_choices_are_and(run):
    old = datetime.now(UTC) - timedelta(days=9)
    store("1" * 32, old)
    store("2" * 32, old, _auth_user_id="7")
    new = new_session()
    limit = f"--created-before={old + timedelta(days=1):%Y-%m-%d}"
    assert run("clear", "--anonymous", limit, "--noinput").out == "1 session ended.\n"
    assert alive() == {"2" * 32, id_of(new)}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("choice", "count"),
    [
        ("--all", 3),
        ("--user=7", 2),
        ("--anonymous", 1),
        ("--created-before=2001-01-01", 0),
    ],
)
def test_a_dry_run_only_counts(run, answer, choice, count):
    answer(AssertionError)
    for user in ("7", "7", None):
        new_session(user)
    out = run("clear", choice, "--dry-run", verbosity=0).out
    assert out == f"{count} session{'' if count == 1 else 's'} would be ended.\n"
    assert sessions.count() == 3


@pytest.mark.parametrize(
    "words",
    [
        ("--all", "--user=7"),
        ("--all", "--anonymous"),
        ("--all", "--created-before=2026-01-01"),
        ("--user=7", "--anonymous"),
        ("--dry-run",),
    ],
)
def test_contradictions_are_refused(run, words):
    new_session()
    error_of(run, "clear", *words, "--noinput")
    assert sessions.count() == 1


# show and revoke


def test_one_session_is_shown(run):
    session = new_session("7", cart=[1])
    lines = run("show", id_of(session)).out.splitlines()
    facts = dict(line.split(maxsplit=1) for line in lines)
    assert list(facts) == ["id", "user", "created", "expires", "size"]
    assert (facts["id"], facts["user"]) == (id_of(session), "7")


def test_its_data_are_shown_as_stored_and_with_a_warning(run):
    session = new_session("7", cart=[1, {"size": "größer"}])
    said = run("show", id_of(session), "--data")
    shown = json.loads(said.out)
    assert shown["data"]["cart"] == [1, {"size": "größer"}]
    assert shown["id"] == id_of(session)
    assert "personal data" in said.err
    assert "cart" not in run("show", id_of(session)).out


class Literal:
    """A serializer for what JSON can't hold."""

    def dumps(self, data):
        return repr(data).encode()

    def loads(self, data):
        import ast

        return ast.literal_eval(data.decode())


def test_what_json_can_not_hold_is_shown_as_python_does(run, valkey_sessions):
    valkey_sessions(SERIALIZER=Literal)
    session = new_session(cart={1, 2}, size=3)
    shown = json.loads(run("show", "--data", id_of(session)).out)
    assert shown["data"] == {"cart": "{1, 2}", "size": 3}


def test_a_key_will_do_and_is_not_repeated(run):
    session, other = new_session("7"), new_session("7")
    said = run("show", session.session_key)
    assert id_of(session) in said.out
    revoked = run("revoke", session.session_key, other.session_key, verbosity=3)
    assert id_of(other) in revoked.out
    for text in (said.out, said.err, revoked.out, revoked.err):
        assert session.session_key not in text
        assert other.session_key not in text
    assert alive() == set()
    gone = error_of(run, "revoke", session.session_key)
    assert session.session_key not in gone.said.out + gone.said.err + str(gone)
    gone = error_of(run, "show", session.session_key)
    assert session.session_key not in gone.said.out + gone.said.err + str(gone)


def test_a_key_may_look_like_an_id(run):
    session = SessionStore("abcdef01" * 4)
    session["a"] = 1
    session.save(must_create=True)
    assert f"id       {id_of(session)}" in run("show", session.session_key).out
    run("revoke", session.session_key)
    assert alive() == set()


@pytest.mark.parametrize("text", [UNKNOWN, "x" * 32, "", "*", "user:7"])
def test_what_is_not_there_is_an_error(run, text):
    session = new_session("7")
    assert error_of(run, "show", text).returncode == 1
    assert error_of(run, "revoke", text).returncode == 1
    assert alive() == {id_of(session)}


def test_the_data_of_what_can_not_be_read_are_an_error(run):
    client.execute(["SET", keys.stored_key(sessions.conf.PREFIX, UNKNOWN), "secret?"])
    assert "unreadable" in run("show", UNKNOWN).out
    error = error_of(run, "show", "--data", UNKNOWN)
    assert "SECRET_KEY" in str(error)
    assert "secret?" not in str(error)


def test_revoking_says_which_were_not_there(run):
    first, second, third = (new_session("7") for _ in range(3))
    words = (id_of(first), UNKNOWN, id_of(second), id_of(first))
    said = run("revoke", *words)
    assert said.out == "2 sessions ended.\n"
    assert said.err == f"There is no session {UNKNOWN}.\n"
    assert alive() == {id_of(third)}
    quiet = run("revoke", id_of(third), UNKNOWN, verbosity=0)
    assert (quiet.out, quiet.err) == ("", "")


# What all have in common.


def foreign_keys(prefix):
    return [
        f"{prefix}another",
        f"{prefix}{'0' * 31}",
        f"{prefix}{'A' * 32}",
        f"{prefix}sub:{UNKNOWN}",
        f"x{prefix}{UNKNOWN}",
        prefix.replace("[1]", "1").replace("*", "zz") + "1" * 32,
    ]


@pytest.mark.django_db
def test_keys_of_others_are_not_listed_counted_or_ended(
    run, engine, valkey_sessions, valkey
):
    prefix = f"{engine}app[1]:*"
    valkey_sessions(PREFIX=prefix, SCAN_COUNT=5)
    foreign = foreign_keys(prefix)
    for name in foreign:
        valkey.set(name, "not ours", ex=100)
    ids = {id_of(new_session("7")) for _ in range(20)} | {id_of(new_session())}
    assert set(listed(run)) == ids
    assert run("clear", "--all", "--dry-run").out.startswith("21 ")
    run("clear")
    assert run("clear", "--anonymous", "--noinput").out.startswith("1 ")
    assert run("clear", "--user=7", "--noinput").out.startswith("20 ")
    new_session("7")
    assert run("clear", "--all", "--noinput").out.startswith("1 ")
    assert valkey.exists(*foreign) == len(foreign)


@pytest.mark.parametrize("rest", [f"user:{UNKNOWN}", "user:7:profile"])
def test_clearing_all_spares_keys_of_others_that_begin_as_ours(run, engine, rest):
    new_session("7")
    client.execute(["SET", f"{engine}{rest}", "of an engine or an application"])
    run("clear", "--all", "--noinput")
    assert client.execute(["EXISTS", f"{engine}{rest}"])


@pytest.mark.django_db
@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "--user=7"),
        ("clear",),
        ("clear", "--all"),
        ("clear", "--anonymous"),
        ("show", UNKNOWN),
        ("revoke", UNKNOWN),
    ],
)
def test_an_outage_is_an_error_of_the_command(run, valkey_sessions, words):
    port = servers.free_port()
    valkey_sessions(LOCATION=f"valkey://user:hunter2@127.0.0.1:{port}/0")
    error = error_of(run, *words)
    assert str(port) in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("words", [("list",), ("clear", "--all", "--noinput")])
def test_an_empty_prefix_is_refused(run, valkey_sessions, words):
    session = new_session("7")
    prefix = valkey_sessions()["PREFIX"]
    valkey_sessions(PREFIX="")
    assert "PREFIX" in str(error_of(run, *words))
    valkey_sessions(PREFIX=prefix)
    assert alive() == {id_of(session)}


def test_base_options_stand_on_either_side_of_the_subcommand(run):
    new_session("7")
    assert run("-v0", "clear").out == ""
    assert run("clear", "-v0").out == ""
    assert run("-v0", "clear", "-v", "1").out != ""
    with pytest.raises(CommandError):
        run("list", "--no-color", "--force-color")
    with pytest.raises(CommandError):
        run()


@pytest.mark.parametrize("words", [("list", "--limit=9", "--sort=size")])
def test_progress_is_shown_on_a_terminal_and_cleared(run, look, monkeypatch, words):
    monkeypatch.setattr(progress, "INTERVAL", 0)
    monkeypatch.setattr(progress, "STEP", 1)
    for _ in range(3):
        new_session("7")
    said = run(*words, terminal=True)
    assert "Looking at sessions" in plain(said.err)
    assert "Looking" not in said.out
    *_, last = said.err.split("Looking at sessions")
    assert "\r" in last
    assert "?25l" not in last.rpartition("?25h")[2]
    assert run(*words, terminal=True, verbosity=0).err == ""
    assert run(*words).err == ""
    cleared = run("clear", "--anonymous", "--noinput", terminal=True)
    assert "Looking at sessions" in plain(cleared.err)
    new_session()
    cleared = run("clear", "--anonymous", "--noinput", terminal=True)
    assert "Ending sessions" in plain(cleared.err)
    assert cleared.out == "1 session ended.\n"


class Interrupt:
    """Ctrl-C at the nth round trip that begins with this command, or script."""

    def __init__(self, what, number):
        self.what, self.left = what, number

    def __call__(self, trip):
        first = trip if isinstance(trip, list) else trip[0]
        if first[0] == self.what or evaluates(trip, self.what):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


class Killing:
    """The server ends before the first round trip that has this in its commands."""

    def __init__(self, server, text):
        self.server, self.text = server, text

    def __call__(self, trip):
        if self.server and self.text in str(trip):
            self.server.kill()
            self.server = None


def interrupted(run, *words):
    with pytest.raises(SystemExit) as caught:
        run(*words)
    assert caught.value.code == 130
    return caught.value.said


@pytest.mark.parametrize(
    ("choice", "script"), [("--all", scripts.REMOVE), ("--anonymous", scripts.SWAP)]
)
def test_ctrl_c_says_how_far_clearing_got(
    run, valkey_sessions, before_each_trip, choice, script
):
    valkey_sessions(SCAN_COUNT=10)
    for _ in range(200):
        new_session()
    before_each_trip(Interrupt(script, 4))
    said = interrupted(run, "clear", choice, "--noinput")
    left = sessions.count()
    assert 0 < left < 200
    if choice == "--all":
        assert f"Interrupted. {left} sessions of 200 left." in said.err
    else:
        most = int(re.search(r"At most (\d+) sessions of 200 ended", said.err)[1])
        assert 200 - left <= most < 200


def test_ctrl_c_says_how_far_listing_and_revoking_got(
    run, valkey_sessions, before_each_trip
):
    valkey_sessions(SCAN_COUNT=10)
    ids = [id_of(new_session()) for _ in range(150)]
    before_each_trip(Interrupt("SCAN", 5))
    said = interrupted(run, "list", "--format=csv")
    rows = len(said.out.splitlines()) - 1
    assert f"Interrupted. {rows} sessions listed." in said.err
    before_each_trip(Interrupt(scripts.SWAP, 3))
    said = interrupted(run, "revoke", *ids)
    assert "Interrupted. 2 sessions of 150 ended." in said.err
    assert sessions.count() == 148


def test_ctrl_c_at_the_question_ends_nothing(run, answer):
    new_session()
    answer(KeyboardInterrupt)
    assert "No session was ended." in interrupted(run, "clear", "--all").err
    assert sessions.count() == 1


class Gone(io.StringIO):
    """A pipe without a reader, which is noticed when it is flushed."""

    def __init__(self, fd):
        super().__init__()
        self.fd = fd

    def fileno(self):
        return self.fd

    def flush(self):
        raise BrokenPipeError


@pytest.mark.parametrize("given", [False, True])
def test_ctrl_c_where_the_reader_has_ended_too(
    run, answer, given, monkeypatch, tmp_path
):
    new_session()
    answer(KeyboardInterrupt)
    path = tmp_path / "stdout"
    with path.open("w") as file, monkeypatch.context() as patch:
        stdout = Gone(file.fileno())
        patch.setattr(sys, "stdout", stdout)
        options = {"stdout": stdout} if given else {}
        with pytest.raises(SystemExit) as caught:
            call_command(
                "valkey_sessions", "clear", "--all", stderr=io.StringIO(), **options
            )
        os.write(stdout.fd, b"is it let go of?")
    assert caught.value.code == 130
    assert bool(path.read_text()) is given


def test_an_outage_under_way_says_how_far_it_got(run, own_engine, before_each_trip):
    for _ in range(5):
        new_session()
    ids = list(alive())
    before_each_trip(Killing(own_engine, ids[3]))
    assert "3 sessions of 5 ended." in str(error_of(run, "revoke", *ids))


def test_an_outage_while_all_are_cleared_is_an_error(run, own_engine, before_each_trip):
    new_session()
    before_each_trip(Killing(own_engine, "UNLINK"))
    error = error_of(run, "clear", "--all", "--noinput")
    assert str(own_engine.port) in str(error)
    assert "left" not in str(error)


# In a process of its own.


@pytest.fixture
def start(own_engine, tmp_path):
    """Start the command in a process of its own."""
    started = []

    def start(*words, **options):
        environment = servers.site_environment(
            tmp_path, VALKEY_URL=own_engine.url, PYTHONDEVMODE="1", TERM="xterm"
        )
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen(
            [sys.executable, "manage.py", "valkey_sessions", *words],
            cwd=servers.ROOT / "testproject",
            env=environment,
            text=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def many_sessions(count=3000):
    prefix = sessions.conf.PREFIX
    for _ in range(0, count, 500):
        ids = [keys.session_id(keys.new_session_key()) for _ in range(500)]
        blobs = {id: codec.pack(b"{}", id, int(time.time())) for id in ids}
        client.execute(
            tuple(["SET", keys.stored_key(prefix, i), blobs[i]] for i in ids)
        )


def test_json_pipes_whole(start):
    many_sessions()
    out, err = start("list", "--format=json").communicate(timeout=30)
    assert len({row["id"] for row in json.loads(out)}) == 3000
    assert err == ""


@pytest.mark.parametrize("kind", FORMATS)
def test_a_reader_that_has_enough_ends_it_quietly(start, kind):
    many_sessions()
    process = start("list", f"--format={kind}")
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 0


def test_a_reader_that_is_gone_at_the_end_ends_it_quietly(start):
    new_session()
    reading, writing = os.pipe()
    os.close(reading)
    process = start("list", stdout=writing)
    os.close(writing)
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 0


def test_a_pipe_of_the_caller_is_the_matter_of_the_caller(run):
    new_session()
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError), open(writing, "w", buffering=1) as out:
        call_command("valkey_sessions", "list", stdout=out)


def waiting_in(pipe):
    """Return how many bytes nobody has read yet."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def test_the_question_is_seen_also_if_stdout_is_not(start):
    new_session()
    process = start("clear", "--all", stdin=subprocess.PIPE)
    text = ""
    while not text.endswith("cancel: "):
        text += process.stderr.read(1)
    assert "1 session with the prefix 'session:' on 127.0.0.1:" in text
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    # Rarely it comes while Python can't raise it, and then the end of stdin says no.
    said = {130: "Interrupted.", 1: "CommandError: Cancelled."}[process.returncode]
    assert (out, err.strip()) == ("", f"{said} No session was ended.")
    out, _ = start("clear", "--all", stdin=subprocess.PIPE).communicate("yes\n")
    assert out == "1 session ended.\n"


def test_errors_and_usage_have_their_exit_codes(start, own_engine):
    for words, code in (
        (("show", UNKNOWN), 1),
        (("revoke", UNKNOWN), 1),
        (("list", "--limit=x"), 2),
        ((), 2),
        (("list", "--help"), 0),
    ):
        process = start(*words)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, "Traceback" in err) == (code, False)
