"""The settings: what each may be, what it is by default, and what is wrong with it."""

import os
import re
import traceback
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.contrib.sessions.backends.file import SessionStore as FileStore
from django.core.exceptions import ImproperlyConfigured
from django.core.signing import JSONSerializer
from django.test import override_settings

from django_valkey_sessions import merge
from django_valkey_sessions.backend import SessionStore as Store
from django_valkey_sessions.conf import BadSetting, Location, conf

LOCAL = Location((("127.0.0.1", 6379),))


def half_an_hour(session):
    return 1800


class SessionStore:
    """What is called like a session engine, and is none."""


class DumpsOnly:
    def dumps(self, obj):
        return b""


@pytest.fixture
def configure(settings):
    """Set VALKEY_SESSIONS to these names."""

    def configure(**names):
        settings.VALKEY_SESSIONS = names

    return configure


@pytest.fixture
def refused(configure):
    """Return the error that reading this setting with this value gives."""

    def refused(name, value):
        configure(**{name: value})
        with pytest.raises(BadSetting) as raised:
            getattr(conf, name)
        return raised.value

    return refused


# Defaults.

DEFAULTS = {
    "LOCATION": LOCAL,
    "CLUSTER": False,
    "OPTIONS": {},
    "CLIENT": None,
    "ASYNC": "auto",
    "PREFIX": "session:",
    "TTL": None,
    "EXPIRE": True,
    "TOUCH": True,
    "TOUCH_INTERVAL": None,
    "MAX_LIFETIME": None,
    "RENEW_AFTER": None,
    "MERGE": {},
    "SERIALIZER": None,
    "SEAL": True,
    "DICTIONARY": (),
    "SCAN_COUNT": 1000,
    "USER_INDEX": True,
    "MAX_SESSIONS_PER_USER": None,
    "RECORD_DEVICE": False,
    "PREVIOUS_ENGINE": None,
    "PASSIVE_PATHS": (),
    "REPLICAS_ACK": 0,
}


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items(), ids=str)
def test_a_setting_that_is_not_given_has_its_default(configure, name, default):
    configure()
    assert getattr(conf, name) == default
    assert conf.is_set(name) is False


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items(), ids=str)
def test_without_valkey_sessions_everything_has_its_default(settings, name, default):
    settings.VALKEY_SESSIONS = {}
    del settings.VALKEY_SESSIONS
    assert getattr(conf, name) == default


def test_settings_are_followed_however_they_change(settings):
    del settings.VALKEY_SESSIONS
    assert conf.PREFIX == "session:"
    with override_settings(VALKEY_SESSIONS={"PREFIX": "a:"}):
        assert conf.PREFIX == "a:"
        with override_settings(VALKEY_SESSIONS={}):
            assert conf.PREFIX == "session:"
        assert conf.PREFIX == "a:"
        django_settings.VALKEY_SESSIONS["PREFIX"] = "b:"
        conf.follow()
        assert conf.PREFIX == "b:"
        django_settings.VALKEY_SESSIONS = {"PREFIX": "c:"}
        conf.follow()
        assert conf.PREFIX == "c:"
    assert conf.PREFIX == "session:"
    settings.VALKEY_SESSIONS = {"PREFIX": "d:"}
    assert conf.PREFIX == "d:"
    settings.VALKEY_SESSIONS = {"PREFIX": ""}
    with pytest.raises(BadSetting):
        conf.PREFIX  # noqa: B018


def test_a_value_may_be_changed_inside(configure):
    configure(PASSIVE_PATHS=["/poll/"], MERGE={"a": merge.add})
    assert (conf.PASSIVE_PATHS, [*conf.MERGE]) == (("/poll/",), ["a"])
    django_settings.VALKEY_SESSIONS["PASSIVE_PATHS"].append("/feed/")
    conf.follow()
    assert conf.PASSIVE_PATHS == ("/poll/", "/feed/")
    django_settings.VALKEY_SESSIONS["MERGE"]["b"] = merge.union
    conf.follow()
    assert [*conf.MERGE] == ["a", "b"]


def test_a_change_that_nobody_tells_of_is_seen_by_what_begins_next(
    own_engine, settings
):
    before = settings.VALKEY_SESSIONS
    Store().create()
    Store.clear_all()
    for begin in (Store.length, Store.clear_all, lambda: [*Store.ids()]):
        django_settings.VALKEY_SESSIONS = before
        Store().create()
        django_settings.VALKEY_SESSIONS = {**before, "PREFIX": "elsewhere:"}
        assert begin() in (0, [])
    django_settings.VALKEY_SESSIONS = before
    assert Store.length() == 3


def test_what_was_read_between_two_changes_does_not_stay(configure):
    configure()
    first = django_settings.VALKEY_SESSIONS
    conf.follow()
    django_settings.VALKEY_SESSIONS = {"MAX_LIFETIME": 5}
    assert conf.MAX_LIFETIME == 5
    django_settings.VALKEY_SESSIONS = first
    conf.follow()
    assert conf.MAX_LIFETIME is None


def test_every_setting_has_a_default_here():
    assert set(conf.names()) == set(DEFAULTS)


# Values that are right.

GOOD = [
    ("CLUSTER", True, True),
    ("OPTIONS", {"request_timeout": 250}, {"request_timeout": 250}),
    ("CLIENT", half_an_hour, half_an_hour),
    ("CLIENT", "os.path.join", os.path.join),
    ("ASYNC", "auto", "auto"),
    ("ASYNC", "native", "native"),
    ("ASYNC", "thread", "thread"),
    ("PREFIX", "s", "s"),
    ("PREFIX", "a*b[c]{d}:", "a*b[c]{d}:"),
    ("TTL", None, None),
    ("TTL", 3600, 3600.0),
    ("TTL", 0.5, 0.5),
    ("TTL", timedelta(hours=1), 3600.0),
    ("TTL", half_an_hour, half_an_hour),
    ("TTL", "os.path.join", os.path.join),
    ("EXPIRE", False, False),
    ("TOUCH", False, False),
    ("TOUCH_INTERVAL", None, None),
    ("TOUCH_INTERVAL", 0, 0.0),
    ("TOUCH_INTERVAL", 0.0, 0.0),
    ("TOUCH_INTERVAL", timedelta(0), 0.0),
    ("TOUCH_INTERVAL", 60, 60.0),
    ("TOUCH_INTERVAL", timedelta(minutes=1), 60.0),
    ("MAX_LIFETIME", None, None),
    ("MAX_LIFETIME", 86400, 86400.0),
    ("MAX_LIFETIME", timedelta(days=1), 86400.0),
    ("RENEW_AFTER", None, None),
    ("RENEW_AFTER", 60, 60.0),
    ("RENEW_AFTER", timedelta(hours=1), 3600.0),
    ("MERGE", {"n": merge.add}, {"n": merge.add}),
    ("MERGE", {"n": "django_valkey_sessions.merge.add"}, {"n": merge.add}),
    ("SERIALIZER", JSONSerializer, JSONSerializer),
    ("SERIALIZER", "django.core.signing.JSONSerializer", JSONSerializer),
    ("SEAL", False, False),
    ("DICTIONARY", "a.zdict", (Path("a.zdict"),)),
    ("DICTIONARY", Path("a.zdict"), (Path("a.zdict"),)),
    ("DICTIONARY", ["b", Path("a")], (Path("b"), Path("a"))),
    ("DICTIONARY", ("b", "a"), (Path("b"), Path("a"))),
    ("DICTIONARY", [None, "a"], (None, Path("a"))),
    ("REPLICAS_ACK", None, 0),
    ("REPLICAS_ACK", 2, 2),
    ("SCAN_COUNT", 1, 1),
    ("SCAN_COUNT", 100_000, 100_000),
    ("RECORD_DEVICE", None, False),
    ("RECORD_DEVICE", True, True),
    ("RECORD_DEVICE", len, len),
    ("RECORD_DEVICE", "os.path.basename", os.path.basename),
    ("PREVIOUS_ENGINE", None, None),
    ("PREVIOUS_ENGINE", FileStore.__module__, FileStore),
    ("PASSIVE_PATHS", ["/poll/"], ("/poll/",)),
    ("PASSIVE_PATHS", (re.compile("/a"),), (re.compile("/a"),)),
]


@pytest.mark.parametrize(("name", "value", "read"), GOOD)
def test_a_good_value_is_read(configure, name, value, read):
    configure(**{name: value})
    result = getattr(conf, name)
    assert result == read
    assert type(result) is type(read)
    assert conf.is_set(name) is True


def test_settings_are_read_when_they_are_used():
    with override_settings(VALKEY_SESSIONS={"PREFIX": "one:"}):
        assert conf.PREFIX == "one:"
        with override_settings(VALKEY_SESSIONS={"PREFIX": "two:"}):
            assert conf.PREFIX == "two:"
        assert conf.PREFIX == "one:"


def test_reading_leaves_the_sites_settings_alone(settings):
    given = {"MERGE": {"n": "django_valkey_sessions.merge.add"}}
    settings.VALKEY_SESSIONS = given
    for name in conf.names():
        getattr(conf, name)
    assert given == {"MERGE": {"n": "django_valkey_sessions.merge.add"}}


# Values that are wrong: name, value, id, and what the message shows of it.

NO_FLAGS = [None, 0, 1, "yes", "", []]
NO_SECONDS = [
    (True, "True"),
    (False, "False"),
    (-1, "-1"),
    (-0.5, "-0.5"),
    (timedelta(-1), "-86400.0"),
    (float("nan"), "nan"),
    (float("inf"), "inf"),
    (10**400, "of type int"),
    ([60], "[60]"),
]

BAD = [
    ("LOCATION", None, "E003", "None"),
    ("LOCATION", "", "E004", "''"),
    ("LOCATION", [], "E003", "empty"),
    ("LOCATION", (), "E003", "empty"),
    ("LOCATION", 6379, "E003", "of type int"),
    ("LOCATION", b"valkey://a", "E003", "of type bytes"),
    ("LOCATION", {"host": "a"}, "E003", "of type dict"),
    ("LOCATION", ["valkey://a", None], "E003", "of type list"),
    *[("CLUSTER", value, "E006", repr(value)) for value in NO_FLAGS],
    ("OPTIONS", None, "E008", "None"),
    ("OPTIONS", [], "E008", "empty"),
    ("OPTIONS", [("request_timeout", 1)], "E008", "of type list"),
    ("OPTIONS", {1: 2}, "E008", "of type dict"),
    ("CLIENT", 17, "E010", "of type int"),
    ("CLIENT", "os.sep", "E010", "of type str"),
    ("CLIENT", "", "E010", "''"),
    ("CLIENT", "nowhere", "E010", "'nowhere'"),
    ("CLIENT", "nowhere.client", "E010", "'nowhere.client'"),
    ("CLIENT", "os.nothing", "E010", "'os.nothing'"),
    ("CLIENT", ".client", "E010", "'.client'"),
    ("CLIENT", ".mysite.client", "E010", "'.mysite.client'"),
    ("ASYNC", "yes", "E011", "'yes'"),
    ("ASYNC", None, "E011", "None"),
    ("ASYNC", True, "E011", "True"),
    ("ASYNC", ["auto"], "E011", "['auto']"),
    ("PREFIX", "", "E013", "''"),
    ("PREFIX", None, "E013", "None"),
    ("PREFIX", b"session:", "E013", "b'session:'"),
    ("PREFIX", ["x" * 100], "E013", "of type list"),
    *[("TTL", value, "E014", shown) for value, shown in NO_SECONDS],
    ("TTL", 0, "E014", "0"),
    ("TTL", timedelta(0), "E014", "0.0"),
    ("TTL", "3600", "E014", "'3600'"),
    ("TTL", "nowhere.ttl", "E014", "'nowhere.ttl'"),
    ("TTL", "os.sep", "E014", "'/'"),
    ("TTL", ".ttl", "E014", "'.ttl'"),
    ("TTL", ".mysite.ttl", "E014", "'.mysite.ttl'"),
    *[("EXPIRE", value, "E015", repr(value)) for value in NO_FLAGS],
    *[("TOUCH", value, "E016", repr(value)) for value in NO_FLAGS],
    *[("TOUCH_INTERVAL", value, "E017", shown) for value, shown in NO_SECONDS],
    ("TOUCH_INTERVAL", "60", "E017", "'60'"),
    ("TOUCH_INTERVAL", half_an_hour, "E017", "half_an_hour"),
    *[("RENEW_AFTER", value, "E038", shown) for value, shown in NO_SECONDS],
    ("RENEW_AFTER", 59.9, "E038", "59.9"),
    *[("MAX_LIFETIME", value, "E018", shown) for value, shown in NO_SECONDS],
    ("MAX_LIFETIME", 0, "E018", "0"),
    ("MAX_LIFETIME", "86400", "E018", "'86400'"),
    ("MAX_LIFETIME", half_an_hour, "E018", "half_an_hour"),
    ("MERGE", None, "E019", "None"),
    ("MERGE", [], "E019", "empty"),
    ("MERGE", merge.add, "E019", "of type function"),
    ("MERGE", {1: merge.add}, "E019", "of type dict"),
    ("MERGE", {"n": 17}, "E019", "MERGE['n']"),
    ("MERGE", {"n": None}, "E019", "MERGE['n']"),
    ("MERGE", {"n": "os.sep"}, "E019", "MERGE['n']"),
    ("MERGE", {"n": "add"}, "E019", "'add'"),
    ("MERGE", {"n": "nowhere.add"}, "E019", "'nowhere.add'"),
    ("MERGE", {"n": ".mysite.add"}, "E019", "'.mysite.add'"),
    ("SERIALIZER", 17, "E020", "of type int"),
    ("SERIALIZER", int, "E020", "of type int"),
    ("SERIALIZER", DumpsOnly, "E020", "of type DumpsOnly"),
    ("SERIALIZER", JSONSerializer(), "E020", "of type JSONSerializer"),
    ("SERIALIZER", "os.path", "E020", "of type module"),
    ("SERIALIZER", "json", "E020", "'json'"),
    ("SERIALIZER", "nowhere.Serializer", "E020", "'nowhere.Serializer'"),
    ("SERIALIZER", ".mysite.Serializer", "E020", "'.mysite.Serializer'"),
    *[("SEAL", value, "E021", repr(value)) for value in NO_FLAGS],
    ("DICTIONARY", "", "E022", "''"),
    ("DICTIONARY", [], "E022", "[]"),
    ("DICTIONARY", [""], "E022", "['']"),
    ("DICTIONARY", [None], "E022", "[None]"),
    ("DICTIONARY", [None, None, "a"], "E022", "[None, None, 'a']"),
    ("DICTIONARY", 16, "E022", "16"),
    ("DICTIONARY", ["a.zdict", None], "E022", "['a.zdict', None]"),
    ("DICTIONARY", [17] * 100, "E022", "of type list"),
    ("REPLICAS_ACK", -1, "E027", "-1"),
    ("REPLICAS_ACK", True, "E027", "True"),
    ("REPLICAS_ACK", "1", "E027", "'1'"),
    ("SCAN_COUNT", 0, "E023", "0"),
    ("SCAN_COUNT", -1, "E023", "-1"),
    ("SCAN_COUNT", True, "E023", "True"),
    ("SCAN_COUNT", 1000.0, "E023", "1000.0"),
    ("SCAN_COUNT", "1000", "E023", "'1000'"),
    ("SCAN_COUNT", None, "E023", "None"),
    ("USER_INDEX", 1, "E028", "1"),
    ("USER_INDEX", None, "E028", "None"),
    ("MAX_SESSIONS_PER_USER", 0, "E029", "0"),
    ("MAX_SESSIONS_PER_USER", True, "E029", "True"),
    ("MAX_SESSIONS_PER_USER", 2.0, "E029", "2.0"),
    ("MAX_SESSIONS_PER_USER", "5", "E029", "'5'"),
    ("RECORD_DEVICE", 1, "E036", "of type int"),
    ("RECORD_DEVICE", "yes", "E036", "'yes'"),
    ("PREVIOUS_ENGINE", "", "E030", "''"),
    ("PREVIOUS_ENGINE", 17, "E030", "17"),
    ("PREVIOUS_ENGINE", FileStore, "E030", FileStore.__module__),
    ("PREVIOUS_ENGINE", "nowhere", "E031", "'nowhere.SessionStore'"),
    ("PREVIOUS_ENGINE", "db", "E031", "'db.SessionStore'"),
    ("PREVIOUS_ENGINE", "os", "E031", "'os.SessionStore'"),
    ("PREVIOUS_ENGINE", ".mysite", "E031", "'.mysite.SessionStore'"),
    ("PREVIOUS_ENGINE", __name__, "E031", "is no session engine"),
    ("PREVIOUS_ENGINE", "django_valkey_sessions.backend", "E032", "this engine"),
    ("PREVIOUS_ENGINE", "django_valkey_sessions.sessions", "E032", "this engine"),
    ("PASSIVE_PATHS", "/poll/", "E037", "'/poll/'"),
    ("PASSIVE_PATHS", ["poll/"], "E037", "['poll/']"),
    ("PASSIVE_PATHS", [re.compile(b"/a")], "E037", "re.compile"),
    ("PASSIVE_PATHS", None, "E037", "None"),
]


def short(value):
    """Name a test by a value that has a short and lasting name, else by its kind."""
    text = ascii(value)
    return text if len(text) < 40 and " at 0x" not in text else type(value).__name__


@pytest.mark.parametrize(("name", "value", "id", "shown"), BAD, ids=short)
def test_a_bad_value_is_refused_with_what_it_is_and_a_way_out(
    refused, name, value, id, shown
):
    error = refused(name, value)
    assert error.id == id
    assert name in error.msg
    assert shown in error.msg
    assert error.hint
    assert str(error) == f"{error.msg} {error.hint}"


def test_a_bad_setting_is_what_django_calls_improperly_configured():
    assert issubclass(BadSetting, ImproperlyConfigured)


def test_every_setting_has_a_bad_value_here():
    assert {name for name, *_ in BAD} == set(DEFAULTS)


# VALKEY_SESSIONS itself.


@pytest.mark.parametrize("value", [None, [], "valkey://a", ["PREFIX"], 17])
def test_valkey_sessions_has_to_be_a_dictionary(settings, value):
    settings.VALKEY_SESSIONS = value
    with pytest.raises(BadSetting, match="VALKEY_SESSIONS is") as raised:
        _ = conf.PREFIX
    assert raised.value.id == "E001"
    for _ in range(2):
        with pytest.raises(BadSetting, match="VALKEY_SESSIONS is"):
            Store()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PREFX", "Did you mean PREFIX?"),
        ("prefix", "Did you mean PREFIX?"),
        ("KEY_PREFIX", "Did you mean PREFIX?"),
        ("TOUCH_INTERVALL", "Did you mean TOUCH_INTERVAL?"),
        ("xyzzy", "The names are ASYNC, CLIENT,"),
        (17, "The names are ASYNC, CLIENT,"),
    ],
)
def test_an_unknown_name_is_told_with_a_near_one(settings, name, hint):
    settings.VALKEY_SESSIONS = {"SEAL": True, name: 1}
    (error,) = conf.unknown()
    assert (error.id, repr(name) in error.msg) == ("E002", True)
    assert error.hint.startswith(hint)


def test_known_names_are_not_unknown(configure):
    configure(**dict.fromkeys(DEFAULTS))
    assert list(conf.unknown()) == []


@pytest.mark.parametrize("name", ["names", "is_set", "unknown", "_get"])
def test_what_is_no_property_is_no_setting(configure, name):
    configure(**{name: 1})
    assert len(list(conf.unknown())) == 1


# LOCATION.


def at(host="h", port=6379, **others):
    return Location(((host, port),), **others)


SECRET = "hunter2"

URLS = [
    ("valkey://h", at()),
    ("valkey://h/", at()),
    ("valkey://h:7000", at(port=7000)),
    ("valkey://h:/2", at(database=2)),
    ("redis://h", at()),
    ("valkeys://h", at(tls=True)),
    ("rediss://h", at(tls=True)),
    ("VALKEYS://H", at(tls=True)),
    ("valkey://h/3", at(database=3)),
    ("valkey://h/15/", at(database=15)),
    ("valkey://h?db=3", at(database=3)),
    ("valkey://h/?db=3", at(database=3)),
    ("valkey://h/?db=", at()),
    ("valkey://[::1]", at("::1")),
    ("valkey://[2001:db8::1]:7000/1", at("2001:db8::1", 7000, database=1)),
    ("valkey://:hunter2@h", at(password=SECRET)),
    ("valkey://ada:hunter2@h", at(username="ada", password=SECRET)),
    ("valkey://ada:a%2Fb%40c%3A%23@h", at(username="ada", password="a/b@c:#")),
    ("valkey://ada:a@b@h", at(username="ada", password="a@b")),
    ("valkey://ada:a:b@h", at(username="ada", password="a:b")),
    ("valkey://a%40b:%C3%A9@h", at(username="a@b", password="é")),
    ("unix:///run/valkey.sock", Location(socket="/run/valkey.sock")),
    ("unix:/run/valkey.sock", Location(socket="/run/valkey.sock")),
    ("unix:///run/a%20b%3F", Location(socket="/run/a b?")),
    ("unix:///run/v?db=2", Location(socket="/run/v", database=2)),
    ("unix://:hunter2@/run/v", Location(socket="/run/v", password=SECRET)),
    (
        "unix://ada:hunter2@/run/v",
        Location(socket="/run/v", username="ada", password=SECRET),
    ),
    (["valkey://h"], at()),
    (("valkey://a:1", "valkey://b:2"), Location((("a", 1), ("b", 2)))),
    (
        ["valkeys://u:p@a/1", "rediss://u:p@b:7/1"],
        Location((("a", 6379), ("b", 7)), None, True, "u", "p", 1),
    ),
    ("sentinel://h/main", at(port=26379, service="main")),
    ("sentinel://h:7/a%2Fb/", at(port=7, service="a/b")),
    (
        "SENTINEL://ada:a,b@a,b:7,[::1]:8/main?db=2&sentinel_password=hunter2",
        Location(
            (("a", 26379), ("b", 7), ("::1", 8)),
            username="ada",
            password="a,b",
            database=2,
            service="main",
            sentinel_password=SECRET,
        ),
    ),
    (
        "sentinels://h/main?sentinel_username=eve&sentinel_password=hunter2",
        at(
            port=26379,
            tls=True,
            service="main",
            sentinel_username="eve",
            sentinel_password=SECRET,
        ),
    ),
    (
        ["sentinel://a/main", "sentinel://b,c/main"],
        Location((("a", 26379), ("b", 26379), ("c", 26379)), service="main"),
    ),
]


@pytest.mark.parametrize(("url", "location"), URLS)
def test_a_url_says_where_the_server_is(configure, url, location):
    configure(LOCATION=url)
    assert location == conf.LOCATION


NO_URLS = [
    ("h:6379", "has no scheme that is known"),
    ("127.0.0.1:6379", "has no scheme that is known"),
    ("//h", "has no scheme that is known"),
    ("http://h", "has no scheme that is known"),
    ("sentinel://h", "names no service"),
    ("sentinel://h/", "names no service"),
    ("sentinel://h/main/0", "names no service"),
    ("sentinel:///main", "has no host"),
    ("sentinel://a,,b/main", "has no host"),
    ("sentinel://a,b:port/main", "is no URL"),
    ("sentinel://a,b:0/main", "port"),
    ("sentinel://h/main?db=x", "names a database that is no number"),
    ("sentinel://h/main?sentinel_username=ada", "a user of the sentinels"),
    ("sentinel://h/main?sentinel_password=a&sentinel_password=b", "behind the path"),
    ("valkey://h?sentinel_password=x", "behind the path"),
    ("valkey:", "has no host"),
    ("valkey:///0", "has no host"),
    ("valkey://:6379", "has no host"),
    ("valkey://ada:hunter2@", "has no host"),
    ("valkey://h:port", "is no URL"),
    ("valkey://h:65536", "is no URL"),
    ("valkey://h:-1", "is no URL"),
    ("valkey://h:0", "port"),
    ("valkey://[::1", "is no URL"),
    ("valkey://h/x", "names a database that is no number"),
    ("valkey://h/-1", "names a database that is no number"),
    ("valkey://h/1.0", "names a database that is no number"),
    ("valkey://h/1/2", "names a database that is no number"),
    ("valkey://h/٣", "names a database that is no number"),
    ("valkey://h?db=x", "names a database that is no number"),
    ("valkey://h/1?db=2", "database"),
    ("valkey://h?db=1&db=2", "behind the path"),
    ("valkey://h?timeout=1", "behind the path"),
    ("valkey://h/1#x", "behind the path"),
    ("valkey://ada@h", "has a user but no password"),
    ("valkey://ada:@h", "has a user but no password"),
    ("unix://run/valkey.sock", "has no absolute path"),
    ("unix:run/valkey.sock", "has no absolute path"),
    ("unix://", "has no absolute path"),
]


@pytest.mark.parametrize(("url", "what"), NO_URLS)
def test_a_url_that_is_not_understood_is_refused(refused, url, what):
    error = refused("LOCATION", url)
    assert error.id == "E004"
    assert what in error.msg


@pytest.mark.parametrize(
    ("urls", "what"),
    [
        (["valkey://a", "valkeys://b"], "differ in their tls"),
        (["valkey://:x@a", "valkey://b"], "differ in their password"),
        (["valkey://:x@a", "valkey://:hunter2@b"], "differ in their password"),
        (["valkey://a:x@a", "valkey://b:x@b"], "differ in their username"),
        (["valkey://a/1", "valkey://b"], "differ in their database"),
        (["valkey://a", "valkey://b", "valkey://c/1"], "differ in their database"),
        (["sentinel://a/x", "sentinel://b/y"], "differ in their service"),
        (["sentinel://a/x", "valkey://b"], "differ in their service"),
        (
            ["sentinel://a/x", "sentinel://b/x?sentinel_password=hunter2"],
            "differ in their sentinel_password",
        ),
        (["unix:///a", "valkey://b"], "unix socket beside others"),
        (["valkey://a", "unix:///b"], "unix socket beside others"),
        (["unix:///a", "unix:///b"], "unix socket beside others"),
    ],
)
def test_urls_that_contradict_each_other_are_refused(refused, urls, what):
    error = refused("LOCATION", urls)
    assert error.id == "E005"
    assert what in error.msg


def test_one_bad_url_in_a_list_is_enough(refused):
    error = refused("LOCATION", ["valkey://a", "http://b"])
    assert (error.id, "'http://b'" in error.msg) == ("E004", True)


#: Mistakes in URLs that have the password hunter2 in them somewhere.
INDISCREET = [
    "http://ada:hunter2@h",
    "sentinel://ada:hunter2@h",
    "sentinel://ada:hunter2@a,b:port/main",
    "sentinel://ada:a,hunter2@b",
    "sentinel://ada:a,hunter2/x@b",
    "sentinel://ada:hunter2?x@a,b/main",
    "sentinel://h/main?db=x&sentinel_password=hunter2",
    "sentinel://h/main?db=x&sentinel_password=a@hunter2",
    "valkey://ada:hunter2@",
    "valkey://hunter2@h",
    "valkey://ada:hunter2@h/x",
    "valkey://ada:hunter2@h:99999",
    "valkey://ada:hunter2@h:port",
    "valkey://ada:hunter2@[::1",
    "valkey://ada:hunter2@h?db=x",
    "valkey://ada:hunter2@h#x",
    "valkey://ada:a//hunter2@h",
    "valkey://ada:a@hunter2@h/x",
    "valkey://ada:hunter2/x@h",
    "valkey://ada:hunter2?x@h",
    "valkey://ada:hunter2#x@h",
    "valkey://ada:123/hunter2@h",
    "valkey://ada:123?db=hunter2@h",
    "valkey://ada:[hunter2]@h",
    "valkey://ada:[hunter2@h",
    "valkey://ada:hunter2\uff1ax@h",
    "valkey://h?password=hunter2",
    "unix:///run/v?password=hunter2",
    "unix://ada:hunter2@run/v",
    "ada:hunter2@h",
    ":hunter2@h:6379/0",
    "valkey:ada:hunter2@h",
    "valkey:/ada:hunter2@h",
]


@pytest.mark.parametrize("url", INDISCREET)
def test_a_password_is_not_repeated_in_a_message(refused, url):
    error = refused("LOCATION", url)
    assert error.id == "E004"
    assert "hunter2" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "value",
    [
        ("CLIENT", 17),
        ("LOCATION", {"PASSWORD": SECRET}),
        ("LOCATION", ["valkey://:hunter2@h", 17]),
        ("LOCATION", ["valkey://:hunter2@h", "valkey://:other@i"]),
        ("LOCATION", b"valkey://:hunter2@h"),
        ("OPTIONS", [("password", SECRET)]),
        ("OPTIONS", {1: SECRET}),
    ],
)
def test_what_may_hold_a_password_is_not_shown(refused, value):
    assert SECRET not in str(refused(*value))


def test_a_location_shows_its_password_nowhere(configure):
    configure(LOCATION=f"sentinels://ada:{SECRET}@h/x?sentinel_password={SECRET}")
    assert SECRET not in f"{conf.LOCATION} {conf.LOCATION!r}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("valkey://ada:hunter2@h:7000/3", "h:7000"),
        ("valkey://[::1]", "[::1]:6379"),
        (["valkey://a", "valkey://b:7"], "a:6379, b:7"),
        ("unix://:hunter2@/run/v?db=1", "/run/v"),
        ("sentinel://a,b:7/main", "'main' of the sentinels at a:26379, b:7"),
    ],
)
def test_a_location_is_told_by_its_address(configure, url, shown):
    configure(LOCATION=url)
    assert str(conf.LOCATION) == shown
