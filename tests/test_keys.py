"""Session keys, ids and stored keys."""

import re

import hypothesis
import pytest
from hypothesis import strategies as st

from django_valkey_sessions import keys

patient = hypothesis.settings(
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)

KEY = "0123456789abcdefghijklmnopqrstuv"
ID = "73337f479fe170d73e53e247f3052e42"

# Keys.


def test_a_new_key_is_made_of_32_base32_characters():
    assert re.fullmatch(r"[a-z2-7]{32}", keys.new_session_key())


def test_new_keys_are_never_the_same():
    assert len({keys.new_session_key() for _ in range(10_000)}) == 10_000


def test_every_character_of_a_new_key_is_drawn_from_all_32():
    """32 places of 5 bits are the 160 bits that the docstring promises."""
    drawn = [keys.new_session_key() for _ in range(10_000)]
    assert [len(set(place)) for place in zip(*drawn, strict=True)] == [32] * 32


# Ids.


def test_the_id_of_a_key_stays_the_same_in_every_release():
    assert keys.session_id(KEY) == ID


@pytest.mark.parametrize(
    "session_key",
    ["", "a", "a" * 5_000, "a\nb", "\0", "\ud800", "*", "../x", "ключ", "😀"],
    ids=ascii,
)
def test_whatever_a_client_sends_has_an_id(session_key):
    assert re.fullmatch(r"[0-9a-f]{32}", keys.session_id(session_key))


@pytest.mark.parametrize(
    "other", [KEY.upper(), KEY + "\n", KEY + "\0", " " + KEY, KEY[:-1], KEY[:-1] + "w"]
)
def test_another_key_has_another_id(other):
    assert keys.session_id(other) != ID


def test_an_id_does_not_work_as_a_key():
    assert keys.session_id(ID) != ID


@patient
@hypothesis.given(st.text(min_size=8))
def test_a_key_does_not_occur_in_what_is_stored(session_key):
    assert session_key not in keys.stored_key("s:", keys.session_id(session_key))


# Stored keys.


def test_a_session_is_stored_under_prefix_and_id():
    assert keys.stored_key("session:", ID) == f"session:{ID}"


@patient
@hypothesis.given(st.text(min_size=1), st.text())
def test_the_id_is_found_in_the_stored_key(prefix, session_key):
    id = keys.session_id(session_key)
    assert keys.stored_id(prefix, keys.stored_key(prefix, id)) == id


@pytest.mark.parametrize(
    "stored_key",
    [
        "",
        "session:",
        "session:user:1",
        f"session:user:{ID}",
        f"session:{ID}0",
        f"session:0{ID}",
        f"session:{ID[:-1]}",
        f"session:{ID}\n",
        f"session:{ID.upper()}",
        f"session:{ID[:-1]}g",
        f"session:{ID[:-1]}٣",
        f"session:x:{ID}",
        f"x:session:{ID}",
        f"Session:{ID}",
        f"other:{ID}",
        ID,
    ],
    ids=ascii,
)
def test_somebody_elses_key_has_no_id(stored_key):
    assert keys.stored_id("session:", stored_key) is None


# Patterns.


def matches(pattern, key):
    """Match as Valkey's SCAN does, which knows a backslash as fnmatch does not."""
    regex = {"*": ".*", "?": "."}
    words = re.findall(r"\\.|[^\\]", pattern, re.DOTALL)
    assert "".join(words) == pattern
    assert "[" not in words
    return re.fullmatch(
        "".join(regex.get(word, re.escape(word[-1])) for word in words), key, re.DOTALL
    )


def hashed(key):
    """Return what of a key decides on its node in a cluster: see valkey.io."""
    tag = re.match(r"[^{]*\{([^}]+)\}", key)
    return tag[1] if tag else key


PREFIXES = ["session:", "{s}:", "a{b}c{d}:", "a*[b]?:"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_that_a_session_was_moved_is_noted_on_its_own_node(prefix):
    moved, stored = keys.moved_key(prefix, ID), keys.stored_key(prefix, ID)
    assert hashed(moved) == hashed(stored)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_that_a_session_was_moved_is_noted_beside_the_sessions(prefix):
    moved = keys.moved_key(prefix, ID)
    assert moved.startswith(prefix)
    assert keys.stored_id(prefix, moved) is None


@pytest.mark.parametrize(
    ("prefix", "pattern"),
    [
        ("session:", "session:*"),
        ("a*b", r"a\*b*"),
        ("a?b", r"a\?b*"),
        ("a[bc]", r"a\[bc\]*"),
        ("a\\b", r"a\\b*"),
        ("a^b-{c}", "a^b-{c}*"),
    ],
)
def test_a_pattern_takes_the_prefix_literally(prefix, pattern):
    assert keys.match_pattern(prefix) == pattern


GLOBS = st.text(alphabet="ab*?[]\\^-\n")


@patient
@hypothesis.given(GLOBS, GLOBS)
def test_a_pattern_matches_every_key_with_the_prefix(prefix, rest):
    assert matches(keys.match_pattern(prefix), prefix + rest)


@patient
@hypothesis.given(GLOBS, GLOBS)
def test_a_pattern_matches_no_key_without_the_prefix(prefix, key):
    hypothesis.assume(not key.startswith(prefix))
    assert not matches(keys.match_pattern(prefix), key)


@patient
@hypothesis.given(GLOBS, st.binary(min_size=16, max_size=16))
def test_the_patterns_tell_sessions_from_indexes(prefix, number):
    session, index = prefix + number.hex(), keys.index_key(prefix, "7").decode()
    assert matches(keys.session_pattern(prefix), session)
    assert not matches(keys.session_pattern(prefix), index)
    assert matches(keys.index_pattern(prefix), index)
    assert not matches(keys.index_pattern(prefix), session)


ANY_TEXT = st.text(st.characters(exclude_categories=()))


@patient
@hypothesis.given(ANY_TEXT)
def test_the_key_of_an_index_tells_whose_it_is(user):
    key = keys.index_key("session:", user).decode()
    assert keys.indexed_user("session:", key) == user


@patient
@hypothesis.given(ANY_TEXT)
def test_what_another_site_indexes_is_not_ours(user):
    """Although its prefix begins as our indexes do."""
    for prefix in ("session:user:", "session:user:b:", "session:user:b"):
        key = keys.index_key(prefix, user).decode()
        assert keys.indexed_user("session:", key) is None


@pytest.mark.parametrize("key", ["session:user:%ff", "session:user:a%2", "other:7"])
def test_what_nobody_writes_is_no_index(key):
    assert keys.indexed_user("session:", key) is None
