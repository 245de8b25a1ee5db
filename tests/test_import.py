"""manage.py valkey_sessions import, from each engine whose sessions can be listed."""

import contextlib
import os
import re
import sys
from datetime import timedelta

import pytest
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.db import SessionStore as TableStore
from django.contrib.sessions.backends.file import SessionStore as FileStore
from django.core.cache import caches
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_valkey_sessions import client, keys, previous, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.exceptions import ConnectionLost
from django_valkey_sessions.moving import move

from .postgres import Postgres
from .test_moving import Kept

pytestmark = [pytest.mark.usefixtures("engine"), pytest.mark.django_db]


def create(store, count=1, **values):
    """Create so many sessions; return their session keys."""
    session_keys = []
    for number in range(count):
        session = store()
        session.update({"number": number, **values})
        session.save()
        session_keys.append(session.session_key)
    return session_keys


def here(session_key):
    return dict(SessionStore(session_key).items())


def id_of(session_key):
    return keys.session_id(session_key)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(FileStore, "_storage_path", str(tmp_path), raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    yield server
    server.close()


@contextlib.contextmanager
def on(server, **options):
    """Have the site's database on this server."""
    given = {"default": {**server.settings, **options}}
    configured = connections.configure_settings(given)["default"]
    settings, used = connections.settings["default"], connections["default"]
    connections.settings["default"] = configured
    del connections["default"]
    try:
        call_command("migrate", "sessions", verbosity=0)
        yield
    finally:
        connections["default"].close()
        connections.settings["default"] = settings
        connections["default"] = used


@pytest.fixture(params=["sqlite", "postgresql", "pooled"])
def database(request):
    """The site's database: SQLite's, or a PostgreSQL, also behind a pooler."""
    if request.param == "sqlite":
        yield
        return
    server = request.getfixturevalue("postgres")
    options = {"DISABLE_SERVER_SIDE_CURSORS": request.param == "pooled"}
    with on(server, **options):
        yield
        TableStore.get_model_class().objects.all().delete()


# From tables.


def test_the_sessions_of_a_table_are_moved(run, database):
    session_keys = create(TableStore, 3)
    assert run("import", "--from=db").out == "3 sessions moved.\n"
    assert [here(key)["number"] for key in session_keys] == [0, 1, 2]
    assert TableStore(session_keys[0]).load() == {"number": 0}


def test_more_sessions_than_a_page_are_moved_and_none_twice(run, database, monkeypatch):
    monkeypatch.setattr(previous, "PAGE", 7)
    create(TableStore, 50)
    assert run("import", "--from", "db").out == "50 sessions moved.\n"
    assert sessions.count() == 50


def test_thousands_of_sessions_are_moved(run, database):
    model = TableStore.get_model_class()
    expire_date = timezone.now() + timedelta(days=1)
    data = TableStore().encode({"a": 1})
    session_keys = [f"{number:032d}" for number in range(3000)]
    model.objects.bulk_create(model(key, data, expire_date) for key in session_keys)
    assert run("import", "--from=db").out == "3,000 sessions moved.\n"
    assert here(session_keys[2999]) == {"a": 1}


def test_a_page_is_two_queries_and_one_round_trip(monkeypatch, database):
    create(TableStore, 30)
    monkeypatch.setattr(previous, "PAGE", 10)
    queries = CaptureQueriesContext(connections["default"])
    with queries, client.record() as trips:
        moved = list(move(previous.engine_of(TableStore)))
    assert len(moved) == 30
    # The last query finds that there are no more.
    assert len(queries) == 2 * 3 + 1
    assert len(trips) == 3


def test_the_expiry_of_a_row_is_kept(run, valkey, engine):
    (session_key,) = create(TableStore)
    rows = TableStore.get_model_class().objects
    rows.update(expire_date=timezone.now() + timedelta(seconds=100))
    run("import", "--from=db")
    assert 95 < valkey.ttl(engine + id_of(session_key)) <= 100


def test_what_is_not_moved_is_counted(run):
    create(TableStore, 2)
    expired, *_ = create(TableStore, 3)
    rows = TableStore.get_model_class().objects
    rows.filter(session_key=expired).update(expire_date=timezone.now())
    unreadable = create(TableStore, 2)
    rows.filter(session_key__in=unreadable).update(session_data="x")
    TableStore().save()
    assert run("import", "--from=db").out == (
        "4 sessions moved. Left alone: 1 expired, 3 empty or unreadable.\n"
    )


def test_those_of_which_nobody_knows_what_they_hold_are_named(run):
    (session_key,) = create(TableStore)
    TableStore.get_model_class().objects.update(session_data="x")
    said = run("import", "--from=db", verbosity=2).out
    assert f"{id_of(session_key)} is empty or can't be read." in said


def test_a_database_that_is_down_logs_nobody_out(valkey_sessions):
    valkey_sessions(PREVIOUS_ENGINE=TableStore.__module__)
    server = Postgres()
    with on(server):
        moved, other = create(TableStore, 2)
        session = SessionStore(moved)
        assert session["number"] == 0
        server.close()
        for ending in (session.flush, session.cycle_key):
            with pytest.raises(OperationalError):
                ending()
        assert here(moved) == {"number": 0}
        connections["default"].close()
        with pytest.raises(OperationalError, match="refused"):
            here(other)


# Again.


def test_it_can_be_run_again(run):
    first = create(TableStore, 2)
    run("import", "--from=db")
    create(TableStore, 1)
    assert run("import", "--from=db").out == (
        "1 session moved. Left alone: 2 here already.\n"
    )
    session = SessionStore(first[0])
    session["number"] = "changed here"
    session.save()
    run("import", "--from=db")
    assert here(first[0]) == {"number": "changed here"}


def test_a_second_run_revives_nothing(run):
    ended, _ = create(TableStore, 2)
    run("import", "--from=db")
    sessions.revoke(id_of(ended))
    assert run("import", "--from=db").out == (
        "0 sessions moved. Left alone: 1 here already, 1 ended since.\n"
    )
    assert sessions.get(id_of(ended)) is None


def test_a_dry_run_moves_nothing_and_says_what_would_be(run, valkey, engine):
    ended, _ = create(TableStore, 2)
    run("import", "--from=db")
    create(TableStore, 2)
    sessions.revoke(id_of(ended))
    before = sorted(valkey.scan_iter(f"{engine}*"))
    said = run("import", "--from=db", "--dry-run").out
    assert said == (
        "2 sessions would be moved. Left alone: 1 here already, 1 ended since.\n"
    )
    assert sorted(valkey.scan_iter(f"{engine}*")) == before


def test_nothing_to_move(run):
    assert run("import", "--from=db").out == "0 sessions moved.\n"


def test_who_logs_out_over_there_meanwhile_stays_logged_out(run, before_each_trip):
    session_key, other = create(TableStore, 2)
    before_each_trip(lambda trip: TableStore().delete(session_key))
    assert run("import", "--from=db").out == (
        "1 session moved. Left alone: 1 ended since.\n"
    )
    assert here(session_key) == {}
    assert here(other) == {"number": 1}


def test_a_lost_reply_does_not_hide_what_was_moved(run, monkeypatch):
    create(TableStore, 2)
    execute, lost = client.execute, []

    def losing(trip):
        reply = execute(trip)
        if not lost:
            lost.append(reply)
            raise ConnectionLost("lost")
        return reply

    monkeypatch.setattr(client, "execute", losing)
    assert run("import", "--from=db").out == "2 sessions moved.\n"


# From files.


def test_the_sessions_in_files_are_moved(run, files):
    session_keys = create(FileStore, 3)
    expired, unreadable = create(FileStore, 2)
    os.utime(files / f"sessionid{expired}", (1, 1))
    (files / f"sessionid{unreadable}").write_bytes(b"\xff")
    (files / "another").write_text("file")
    (files / "sessionid-of-a-folder").mkdir()
    (files / "sessionid-UPPER").write_text("x")
    assert run("import", "--from=file").out == (
        "3 sessions moved. "
        "Left alone: 1 ended since, 1 expired, 1 empty or unreadable.\n"
    )
    assert [here(key)["number"] for key in session_keys] == [0, 1, 2]
    assert len(list(files.iterdir())) == 8


def test_a_folder_that_can_not_be_read_is_an_error(run, files, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CommandError, match="Permission denied"):
        run("import", "--from=file")


# From caches.


def cache_on_redis(backend, server, tmp_path, **more):
    return {
        "default": {
            "BACKEND": backend,
            "LOCATION": server.url.replace("valkey:", "redis:"),
            "KEY_PREFIX": tmp_path.name,
            **more,
        }
    }


@pytest.fixture(
    params=[
        "django.core.cache.backends.redis.RedisCache",
        "django_redis.cache.RedisCache",
    ]
)
def redis_cache(request, settings, server, valkey, tmp_path):
    settings.CACHES = cache_on_redis(request.param, server, tmp_path)
    yield caches["default"]
    for key in valkey.scan_iter(f"{tmp_path.name}*"):
        valkey.delete(key)
    caches["default"].close()


def test_the_sessions_of_a_cache_on_redis_are_moved(run, redis_cache, valkey, engine):
    session_keys = create(CacheStore, 3)
    redis_cache.set("of-another", {"a": 1})
    key = CacheStore(session_keys[0]).cache_key
    redis_cache.touch(key, 100)
    assert run("import", "--from=cache").out == "3 sessions moved.\n"
    assert [here(key)["number"] for key in session_keys] == [0, 1, 2]
    assert 95 < valkey.ttl(engine + id_of(session_keys[0])) <= 100


def test_a_session_that_the_cache_keeps_for_ever_lives_as_long_as_its_cookie(
    run, redis_cache, valkey, engine, settings
):
    (session_key,) = create(CacheStore)
    redis_cache.touch(CacheStore(session_key).cache_key, None)
    run("import", "--from=cache")
    left = valkey.ttl(engine + id_of(session_key))
    assert settings.SESSION_COOKIE_AGE - 5 < left <= settings.SESSION_COOKIE_AGE


def test_what_the_serializer_can_not_take_is_left_and_named(run, redis_cache):
    (unfit,) = create(CacheStore, now=timezone.now())
    create(CacheStore)
    said = run("import", "--from=cache", verbosity=2).out
    assert said == (
        f"{id_of(unfit)} holds what the serializer can't take: TypeError.\n"
        "1 session moved. Left alone: 1 not for this serializer.\n"
    )


def test_a_cache_that_fails_is_an_error_and_says_how_far_it_got(
    run, redis_cache, monkeypatch
):
    monkeypatch.setattr(previous, "PAGE", 1)
    create(CacheStore, 2)
    read = previous.Caches._read
    reads = []

    def failing(self, store, session_key):
        reads.append(session_key)
        if len(reads) > 2:  # Each session is read twice.
            # As of a server that ends meanwhile: each cache has its own errors.
            raise ConnectionResetError(f"reading {session_key}")
        return read(self, store, session_key)

    monkeypatch.setattr(previous.Caches, "_read", failing)
    with pytest.raises(CommandError) as caught:
        run("import", "--from=cache")
    assert str(caught.value) == (
        "The cache 'default' can't be read: ConnectionResetError. 1 session moved. "
        "Run it again to go on."
    )


def own_key(key, prefix, version):
    return f"{key}:{prefix}"


@pytest.mark.parametrize("name", ["locmem", "own key function"])
def test_a_cache_that_can_not_list_its_sessions_says_so(
    run, settings, server, tmp_path, name
):
    if name == "own key function":
        backend = "django.core.cache.backends.redis.RedisCache"
        settings.CACHES = cache_on_redis(
            backend, server, tmp_path, KEY_FUNCTION=own_key
        )
    with pytest.raises(CommandError) as caught:
        run("import", "--from=cache")
    assert "Django's caches can't list their keys" in str(caught.value)
    assert "PREVIOUS_ENGINE" in str(caught.value)


# From others.


@pytest.fixture
def somebodys(monkeypatch):
    """An engine as somebody may have written it."""
    monkeypatch.setattr(Kept, "sessions", {})
    module = type(sys)("engine_of_somebody")
    module.SessionStore = type("SessionStore", (Kept,), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.SessionStore


def test_an_engine_that_can_list_its_sessions_is_moved_from(run, somebodys):
    somebodys.iterate_keys = classmethod(lambda cls: iter(cls.sessions))
    create(somebodys, 3)
    assert run("import", "--from=engine_of_somebody").out == "3 sessions moved.\n"


def test_an_engine_that_can_not_list_its_sessions_says_so(run, somebodys):
    with pytest.raises(CommandError) as caught:
        run("import", "--from=engine_of_somebody")
    assert "iterate_keys" in str(caught.value)
    assert "PREVIOUS_ENGINE" in str(caught.value)


def test_an_engine_that_derives_from_djangos_is_moved_from_as_that_is(run, monkeypatch):
    module = type(sys)("engine_of_somebody")
    module.SessionStore = type("SessionStore", (TableStore,), {})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    create(module.SessionStore, 2)
    assert run("import", "--from=engine_of_somebody").out == "2 sessions moved.\n"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere", "No module named 'nowhere'"),
        ("os", "does not define"),
        ("..x", "is no engine"),
        ("django_valkey_sessions.backend", "is this engine"),
        ("tests.test_import", "whose SessionStore is no session"),
    ],
)
def test_a_name_of_no_engine_is_refused(run, monkeypatch, name, why):
    monkeypatch.setattr("tests.test_import.SessionStore", object())
    with pytest.raises(CommandError, match=re.escape(why)):
        run("import", "--from", name)


# On the way.


def test_progress_is_shown_on_a_terminal(run, look):
    create(TableStore, 3)
    said = run("import", "--from=db", terminal=True)
    assert "Moving sessions" in said.err
    assert said.out == "3 sessions moved.\n"


def test_quiet_is_quiet(run):
    create(TableStore, 3)
    assert run("import", "--from=db", verbosity=0, terminal=True).out == ""


def test_a_database_that_fails_is_an_error_and_says_how_far_it_got(run, monkeypatch):
    monkeypatch.setattr(previous, "PAGE", 2)
    create(TableStore, 3)
    pages = previous.Tables.pages

    def failing(self):
        yield next(pages(self))
        raise OperationalError("The database has gone away.")

    monkeypatch.setattr(previous.Tables, "pages", failing)
    with pytest.raises(CommandError) as caught:
        run("import", "--from=db")
    assert str(caught.value) == (
        "The database has gone away. 2 sessions moved. Run it again to go on."
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Interrupted. 2 sessions moved. Run it again to go on.\n"),
        (("--dry-run",), "Interrupted. 2 sessions would be moved.\n"),
    ],
)
def test_ctrl_c_says_how_far_it_got(run, monkeypatch, words, said):
    monkeypatch.setattr(previous, "PAGE", 2)
    create(TableStore, 3)
    pages = previous.Tables.pages

    def interrupted(self):
        yield next(pages(self))
        raise KeyboardInterrupt

    monkeypatch.setattr(previous.Tables, "pages", interrupted)
    with pytest.raises(SystemExit) as caught:
        run("import", "--from=db", *words)
    assert caught.value.code == 130
    assert caught.value.said.err.endswith(said)


def test_nothing_that_is_said_is_a_session_key(run):
    session_keys = create(TableStore, 2)
    TableStore.get_model_class().objects.update(session_data="x")
    said = run("import", "--from=db", verbosity=3)
    assert not any(key in said.out + said.err for key in session_keys)
