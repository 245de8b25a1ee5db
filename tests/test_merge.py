"""The three-way merge of a session."""

import copy
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from django_valkey_sessions.merge import ABSENT, add, merge, same, union

patient = hypothesis.settings(
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)

VALUES = st.recursive(
    # A zero with a sign is equal to one without.
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(0) | st.text(max_size=2),
    lambda values: st.lists(values) | st.dictionaries(st.text(max_size=2), values),
    max_leaves=4,
)
SESSIONS = st.dictionaries(st.sampled_from("abcdef"), VALUES)


def written(data):
    """Tell apart what Python calls equal: 1, 1.0, True; and equal what it does not."""
    return json.dumps(data, sort_keys=True)


# What holds for all sessions.


@patient
@hypothesis.given(SESSIONS, SESSIONS)
def test_without_changes_of_theirs_the_result_is_ours(base, ours):
    assert written(merge(base, ours, base)) == written(ours)


@patient
@hypothesis.given(SESSIONS, SESSIONS)
def test_without_changes_of_ours_the_result_is_theirs(base, theirs):
    assert written(merge(base, base, theirs)) == written(theirs)


@patient
@hypothesis.given(SESSIONS, SESSIONS)
def test_the_same_changes_on_both_sides_are_made_once(base, both):
    assert written(merge(base, both, copy.deepcopy(both))) == written(both)


@patient
@hypothesis.given(SESSIONS, SESSIONS, SESSIONS)
def test_keys_that_nobody_touched_stay(base, ours, theirs):
    untouched = {"kept": [1, {"as": "it is"}]}
    merged = merge(base | untouched, ours | untouched, theirs | untouched)
    assert merged["kept"] == untouched["kept"]


@patient
@hypothesis.given(SESSIONS, SESSIONS, VALUES)
def test_what_we_deleted_is_gone_whatever_they_did(ours, theirs, value):
    ours.pop("a", None)
    assert "a" not in merge({"a": value}, ours, theirs)


@patient
@hypothesis.given(SESSIONS, SESSIONS, VALUES)
def test_what_they_deleted_is_gone_unless_we_changed_it(ours, theirs, value):
    theirs.pop("a", None)
    ours["a"] = copy.deepcopy(value)
    assert "a" not in merge({"a": value}, ours, theirs)


@patient
@hypothesis.given(SESSIONS, SESSIONS, VALUES)
def test_where_both_changed_a_key_ours_wins(ours, theirs, value):
    ours["a"] = value
    theirs["a"] = [value, "theirs"]
    assert written(merge({"a": [value, "base"]}, ours, theirs)["a"]) == written(value)


LEFT = st.dictionaries(st.sampled_from("abc"), VALUES)
RIGHT = st.dictionaries(st.sampled_from("def"), VALUES)


@patient
@hypothesis.given(LEFT, RIGHT, LEFT, RIGHT)
def test_changes_of_different_keys_all_survive_in_either_order(
    left, right, changed_left, changed_right
):
    base = left | right
    ours, theirs = changed_left | right, left | changed_right
    both = written(changed_left | changed_right)
    assert written(merge(base, ours, theirs)) == both
    assert written(merge(base, theirs, ours)) == both


@patient
@hypothesis.given(SESSIONS, SESSIONS, SESSIONS)
def test_the_sides_are_left_as_they_were(base, ours, theirs):
    before = written([base, ours, theirs])
    merge(base, ours, theirs, {"a": union, "b": add})["new"] = 1
    assert written([base, ours, theirs]) == before


# What a change is.

DIFFERENT = [
    (1, True),
    (0, False),
    (1, 1.0),
    (1.0, True),
    (0, None),
    ("", None),
    ("1", 1),
    ([], ()),
    ([], {}),
    ([1], [True]),
    ([1], [1, 2]),
    ({"x": 1}, {"x": True}),
    ({"x": 1}, {"y": 1}),
    ({"x": [0]}, {"x": [0.0]}),
    ((1, 2), (1, 2.0)),
]


@pytest.mark.parametrize(("before", "after"), DIFFERENT)
def test_a_change_of_type_is_a_change(before, after):
    merged = merge({"a": before}, {"a": after}, {"a": before})
    assert merged["a"] is after


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_values_of_different_types_are_not_the_same(one, other):
    assert same(one, other) is False
    assert same(other, one) is False


@pytest.mark.parametrize(
    "make",
    [
        lambda: float("nan"),
        lambda: [float("nan")],
        lambda: {"x": (float("nan"), 1)},
        lambda: {"x": 1, "y": [None, True, "z"]},
        lambda: {1, 2},
    ],
)
def test_a_value_read_twice_is_the_same(make):
    assert same(make(), make()) is True


def test_a_nan_that_we_left_alone_does_not_undo_their_change():
    nan = float("nan")
    assert merge({"a": nan}, {"a": float("nan")}, {"a": 2}) == {"a": 2}


# Rules.


@pytest.fixture
def rule():
    """A rule that remembers what it was asked and answers "ruled"."""

    def ruled(base, ours, theirs):
        ruled.calls.append((base, ours, theirs))
        return "ruled"

    ruled.calls = []
    return ruled


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        ({"a": 1}, {"a": 1}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 2}, {"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {}, {"a": 1}, {}),
        ({"a": 1}, {"a": 1}, {}, {}),
        ({}, {"a": 1}, {}, {"a": 1}),
        ({}, {}, {"a": 1}, {"a": 1}),
        ({"b": 1}, {"b": 2}, {"b": 3}, {"b": 2}),
    ],
)
def test_a_rule_is_not_asked_unless_both_sides_changed_its_key(
    rule, base, ours, theirs, merged
):
    assert merge(base, ours, theirs, {"a": rule}) == merged
    assert rule.calls == []


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "call"),
    [
        ({"a": 1}, {"a": 2}, {"a": 3}, (1, 2, 3)),
        ({"a": 1}, {"a": 2}, {"a": 2}, (1, 2, 2)),
        ({"a": 1}, {"a": True}, {"a": 1.0}, (1, True, 1.0)),
        ({}, {"a": 2}, {"a": 3}, (ABSENT, 2, 3)),
        ({"a": 1}, {}, {"a": 3}, (1, ABSENT, 3)),
        ({"a": 1}, {"a": 2}, {}, (1, 2, ABSENT)),
        ({"a": 1}, {}, {}, (1, ABSENT, ABSENT)),
    ],
)
def test_a_rule_decides_where_both_sides_changed_its_key(
    rule, base, ours, theirs, call
):
    assert merge(base, ours, theirs, {"a": rule}) == {"a": "ruled"}
    assert rule.calls == [call]


def test_a_rule_that_returns_absent_removes_the_key():
    rules = {"a": lambda base, ours, theirs: ABSENT}
    assert merge({"a": 1}, {"a": 2}, {"a": 3, "b": 4}, rules) == {"b": 4}


def test_absent_is_false_and_says_what_it_is():
    assert not ABSENT
    assert repr(ABSENT) == "ABSENT"


# add.


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "total"),
    [
        (5, 6, 7, 8),
        (5, 4, 7, 6),
        (5, 6, 6, 7),
        (0.5, 1.0, 1.5, 2.0),
        (1, 2.5, 3, 4.5),
        (ABSENT, 1, 1, 2),
        (None, 1, 1, 2),
        ("five", 1, 1, 2),
        (True, 1, 1, 2),
    ],
)
def test_add_counts_what_both_sides_added(base, ours, theirs, total):
    assert add(base, ours, theirs) == total


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ABSENT, 7),
        (6, ABSENT),
        (ABSENT, ABSENT),
        ("six", 7),
        (6, "seven"),
        (True, 7),
        (6, False),
        (None, 7),
        ([6], 7),
    ],
)
def test_add_keeps_ours_where_a_side_is_no_number(ours, theirs):
    assert add(5, ours, theirs) is ours


@patient
@hypothesis.given(st.integers(), st.integers(), st.integers())
def test_added_counters_do_not_depend_on_who_came_first(base, ours, theirs):
    sides = {"n": base}, {"n": base + ours}, {"n": base + theirs}
    first = merge(*sides, {"n": add})
    second = merge(sides[0], sides[2], sides[1], {"n": add})
    assert first == second == {"n": base + ours + theirs}


# union.


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "all_"),
    [
        ([1], [1, 2], [1, 3], [1, 3, 2]),
        ([1, 2], [2], [1, 2, 3], [2, 3]),
        ([1, 2], [1, 2, 3], [2], [2, 3]),
        ([1, 2], [1], [2], []),
        ([1], [1, 2], [1, 2], [1, 2]),
        ([1, 2], [2, 1], [2, 1, 3], [2, 1, 3]),
        (ABSENT, [1], [2], [2, 1]),
        (None, [1], [2], [2, 1]),
        ([], [{"id": 1}], [{"id": 2}], [{"id": 2}, {"id": 1}]),
        ((1,), (1, 2), (1, 3), (1, 3, 2)),
        ({1}, {1, 2}, {1, 3}, {1, 2, 3}),
        ({1, 2}, {1}, {1, 2, 3}, {1, 3}),
        (frozenset([1]), frozenset([2]), frozenset([1, 3]), frozenset([2, 3])),
        ([1], (1, 2), [1, 3], (1, 3, 2)),
    ],
)
def test_union_keeps_what_was_added_and_drops_what_was_removed(
    base, ours, theirs, all_
):
    result = union(base, ours, theirs)
    assert result == all_
    assert type(result) is type(all_)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ABSENT, [1, 2]),
        ([1, 2], ABSENT),
        (ABSENT, ABSENT),
        ("ab", [1, 2]),
        ([1, 2], "ab"),
        ({"x": 1}, [1, 2]),
        ([1, 2], None),
        (3, [1, 2]),
    ],
)
def test_union_keeps_ours_where_a_side_is_no_list_or_set(ours, theirs):
    assert union([1], ours, theirs) is ours


NUMBERS = st.sets(st.integers(0, 9))


@patient
@hypothesis.given(NUMBERS, NUMBERS, NUMBERS)
def test_union_of_sets_is_the_changes_of_both(base, ours, theirs):
    expected = (ours & theirs) | (ours - base) | (theirs - base)
    assert union(base, ours, theirs) == expected


@patient
@hypothesis.given(NUMBERS, NUMBERS, NUMBERS)
def test_union_of_lists_holds_what_the_union_of_sets_holds(base, ours, theirs):
    result = union(sorted(base), sorted(ours), sorted(theirs))
    assert sorted(result) == sorted(union(base, ours, theirs))
