"""manage.py valkey_sessions train: what it makes, and what it keeps to itself."""

import json
import random
import re
import stat
import string
import uuid
from ast import literal_eval
from types import SimpleNamespace

import pytest
from django.core.management.base import CommandError
from django.core.signing import JSONSerializer
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_valkey_sessions import client, codec, keys, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.management import training
from django_valkey_sessions.management.training import Mask, Sample

rng = random.Random(1)


def token(length=32):
    return "".join(rng.choices(string.ascii_letters + string.digits, k=length))


def site_session(user):
    """A session of a site that has names of its own for things."""
    items = rng.sample(["wheelbarrow", "watering-can", "hedge-shears", "spade"], 3)
    return {
        "_auth_user_id": user,
        "_auth_user_hash": rng.randbytes(32).hex(),
        "garden_project": {
            "implements": [
                {"implement": item, "amount_wanted": rng.randint(1, 3)}
                for item in items
            ],
            "kind_of_soil": rng.choice(["loamy soil", "sandy soil"]),
            "shared_with": f"{token(8)}@example.org",
            "remark": f"Ask {token(10)} about {token(12)} first",
        },
    }


def fill(count, make=site_session):
    """Store so many sessions, each of another user; return what they hold."""
    made = {keys.session_id(keys.new_session_key()): make(str(n)) for n in range(count)}
    client.execute(
        tuple(
            [
                *("SET", keys.stored_key(sessions.conf.PREFIX, id)),
                codec.pack(codec.serialize(data, JSONSerializer), id, 1_800_000_000),
            ]
            for id, data in made.items()
        )
    )
    return list(made.values())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "site.zdict"


@pytest.fixture
def train(run, path):
    def train(**options):
        return run("train", **{"output": str(path), **options})

    return train


def error_of(train, **options):
    with pytest.raises(CommandError) as caught:
        train(**options)
    return str(caught.value)


# What it makes.


def test_the_sites_own_sessions_take_less_room(train, path, valkey_sessions):
    fill(400)
    text = train().out
    before, after = map(int, re.findall(r"(\d+) bytes with", text))
    assert after < before
    assert "Learnt from 320 sessions" in text
    assert "80 others" in text
    session = site_session("1")
    payload = codec.serialize(session, JSONSerializer)
    shipped = len(codec.pack(payload, "0" * 32, 0))
    valkey_sessions(DICTIONARY=str(path))
    assert len(codec.pack(payload, "0" * 32, 0)) < shipped


def test_what_it_says_to_do_works_in_that_order(train, path, valkey_sessions):
    fill(400)
    first, second = re.findall(r'"DICTIONARY": (.+)', train().out)
    old = SessionStore()
    old["a"] = "the same again and again and again"
    old.save()
    valkey_sessions(DICTIONARY=literal_eval(first))
    readable = SessionStore(old.session_key)
    assert readable["a"] == old["a"]
    assert dictionary_of(new_session()) == codec.SHIPPED
    valkey_sessions(DICTIONARY=literal_eval(second))
    new = new_session()
    assert dictionary_of(new) == 16
    assert SessionStore(old.session_key)["a"] == old["a"]
    valkey_sessions(DICTIONARY=literal_eval(first))
    assert SessionStore(new.session_key)["garden_project"]


def new_session():
    session = SessionStore()
    session.update(site_session("1"))
    session.save()
    return session


def dictionary_of(session):
    stored = keys.stored_key(sessions.conf.PREFIX, keys.session_id(session.session_key))
    return client.execute(["GET", stored])[1] & codec.DICTIONARY


def test_its_number_is_the_next_one(train, path, valkey_sessions, tmp_path):
    fill(400)
    train()
    valkey_sessions(DICTIONARY=[None, str(path)])
    next_path = tmp_path / "next.zdict"
    # The first one knows these sessions as well as the next one could.
    fill(400, lambda user: {f"another_thing_{n}": [token(3)] for n in range(9)})
    text = train(output=str(next_path)).out
    assert "number 17" in text
    assert repr([None, str(path), str(next_path)]) in text
    assert repr([str(next_path), str(path)]) in text
    valkey_sessions(DICTIONARY=[str(next_path), str(path)])
    assert list(codec.own_dictionaries(training.conf.DICTIONARY)) == [17, 16]


@pytest.mark.parametrize(
    ("taken", "number"),
    [
        ([], 16),
        ([16], 17),
        ([20, 18], 21),
        ([31, 16, 17], 18),
        (range(16, 32), None),
    ],
)
def test_a_number_is_taken_once(monkeypatch, taken, number):
    monkeypatch.setattr(
        codec, "own_dictionaries", lambda paths: dict.fromkeys(taken, b"")
    )
    assert training.next_number() == number


def test_when_all_numbers_are_taken_that_is_an_error(train, monkeypatch):
    monkeypatch.setattr(training, "next_number", lambda: None)
    assert "every number" in error_of(train)


def test_only_its_owner_can_read_it(train, path):
    fill(400)
    train()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_there_is_never_overwritten(train, path):
    fill(400)
    path.write_bytes(b"in use")
    assert "is there already" in error_of(train)
    assert path.read_bytes() == b"in use"
    with pytest.raises(FileExistsError):
        training.write(path, b"new")


def test_a_place_that_can_not_be_written_to_is_an_error(train, tmp_path):
    fill(400)
    error = error_of(train, output=str(tmp_path / "nowhere" / "site.zdict"))
    assert "can't be written: No such file" in error


def test_too_few_are_refused(train, path):
    fill(training.MINIMUM - 1)
    error = error_of(train)
    assert "199 sessions" in error
    assert "200" in error
    assert not path.exists()


@pytest.mark.parametrize("make", [lambda user: {}, lambda user: {"_auth_user_id": "1"}])
def test_where_there_is_nothing_to_learn_nothing_is_written(train, path, make):
    fill(300, make)
    assert "no better" in error_of(train)
    assert not path.exists()


class Nothing:
    """A serializer of sessions that hold nothing."""

    def dumps(self, data):
        return b""

    def loads(self, payload):
        return {}


def test_where_there_is_nothing_at_all_nothing_is_written(train, path, valkey_sessions):
    valkey_sessions(SERIALIZER=Nothing)
    fill(300)
    assert "too little to learn" in error_of(train)
    assert not path.exists()


def test_no_more_than_the_samples_are_read(train, valkey_sessions, before_each_trip):
    valkey_sessions(SCAN_COUNT=10)
    fill(1000)
    read = []
    before_each_trip(
        lambda trip: read.extend(trip) if isinstance(trip, tuple) else None
    )
    train(samples=300)
    assert len([words for words in read if words[0] == "GET"]) < 400


@pytest.mark.parametrize("samples", ["0", "x"])
def test_samples_are_a_number_from_one_on(run, path, samples):
    with pytest.raises(CommandError, match="whole number"):
        run("train", f"--output={path}", f"--samples={samples}")


def test_what_can_not_be_read_or_is_large_is_not_learnt_from(engine):
    fill(3)
    fill(1, lambda user: {"a": [token() for _ in range(4000)]})
    client.execute(["SET", keys.stored_key(sessions.conf.PREFIX, "0" * 32), "?"])
    assert len(list(training.samples(sessions.iterate()))) == 3


def test_ctrl_c_writes_nothing(train, path, before_each_trip, valkey_sessions):
    valkey_sessions(SCAN_COUNT=10)
    fill(400)
    scans = []

    def interrupt(trip):
        scans.append(trip[0] == "SCAN")
        if sum(scans) == 4:
            raise KeyboardInterrupt

    before_each_trip(interrupt)
    with pytest.raises(SystemExit) as caught:
        train()
    assert "Nothing is written." in caught.value.said.err
    assert not path.exists()


# What it keeps to itself.


def values(data):
    """Yield all texts and numbers in a session, as they are written."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield key
            yield from values(value)
    elif isinstance(data, list):
        for value in data:
            yield from values(value)
    elif data is not None:
        yield str(data)


def test_nothing_of_one_session_gets_into_the_dictionary(train, path):
    made = fill(400)
    train()
    content = path.read_bytes()
    counts = {}
    for data in made:
        for value in set(values(data)):
            counts[value] = counts.get(value, 0) + 1
    own = [v for v, count in counts.items() if count == 1 and len(v) > 3]
    assert len(own) >= 400 * 3
    assert [value for value in own if value.encode() in content] == []
    # Also not the words of a text.
    for data in made:
        words = re.findall(r"\w{8,}", data["garden_project"]["remark"])
        assert [word for word in words if word.encode() in content] == []
    assert b"garden_project" in content
    assert b"watering-can" in content


def masked(data, times=1, owner=None):
    """Mask a session that so many people have, or so many times the same person."""
    found = [Sample(owner or str(n), data) for n in range(times)]
    return Mask(found).data(data)


def test_what_several_people_have_stays():
    data = {"theme": "dark", "lines": [{"sku": 12}, 1.5, None, True], 3: "x"}
    assert masked(data, times=training.COMMON) == data


def test_what_one_person_has_in_many_sessions_goes():
    assert masked({"nickname": "Ada"}, times=99, owner="7") != {"nickname": "Ada"}


@pytest.mark.parametrize(
    "secret",
    [
        "ada@example.org",
        "0123456789abcdef0123456789ABCDEF",
        str(uuid.UUID(int=2**127 + 12345)),
        "kAbGcdXEfghYijZklmNopqrWstUv",
        "1234567890",
        1_800_000_000,
        1_800_000_000.25,
    ],
)
def test_what_looks_like_a_secret_goes_even_if_it_is_common(secret):
    data = masked({"a": secret, f"k{secret}": 1}, times=1000)
    assert str(secret) not in str(data)
    assert data["a"] != secret
    assert type(data["a"]) is type(secret)


def test_what_goes_leaves_its_shape():
    data = masked({"when": "2026-03-01 10:00", "hash": "09af-09af", "Name": "Zoë 田中"})
    when, hash, name = data.values()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", when)
    assert re.fullmatch(r"\d\d[a-f]{2}-\d\d[a-f]{2}", hash)
    assert re.fullmatch(r"[A-Z][a-z]{2} [a-z]{2}", name)


def test_a_common_key_is_no_common_value():
    found = [Sample(str(n), {"colour": n}) for n in range(9)]
    data = Mask(found).data({"colour": "colour"})
    assert list(data) == ["colour"]
    assert data["colour"] != "colour"


def test_objects_of_a_site_go():
    own = SimpleNamespace(password="hunter2")
    named = type("Named", (tuple,), {})(["hunter2"])
    data = {"own": own, "pair": (1, "a"), "named": named, (1, 2): "b"}
    assert masked(data, times=9) == {
        "own": None,
        "pair": (1, "a"),
        "named": None,
        None: "b",
    }


json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(min_size=1),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(st.dictionaries(st.text(), json_data))
def test_whatever_a_session_holds_its_copy_can_be_serialized(data):
    payload = codec.serialize(masked(data), JSONSerializer)
    assert isinstance(json.loads(payload), dict)


@given(st.text(st.characters(codec="utf-8"), min_size=12))
def test_no_text_of_one_person_survives(text):
    letters = [c for c in text if c not in training.SHAPE]
    if len(set(letters)) >= 8:
        assert masked({"a": text}) != {"a": text}
