"""Bring the changes of two requests to one session together."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

#: (base, ours, theirs) -> value. A side that lacks the key is passed as ABSENT.
Rule = Callable[[Any, Any, Any], Any]


#: The modules whose types compare by all that they hold.
TRUSTED = frozenset({"builtins", "datetime", "decimal", "fractions", "uuid", __name__})


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


#: (a, b) -> whether two values are alike of whose types Python's == can't be trusted.
Alike = Callable[[Any, Any], bool]

#: Stands for a key that a side of the merge does not have.
ABSENT: Any = _Absent()


def merge(
    base: Mapping[str, Any],
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    rules: Mapping[str, Rule] | None = None,
    alike: Alike = operator.eq,
) -> dict[str, Any]:
    """
    Return theirs with our changes since base applied, key by key.

    A key that we set or deleted since base is ours, every other key is theirs.
    Where both changed the same key, ours wins, unless rules holds a rule for it.
    A rule that returns ABSENT removes the key. For alike see same().
    """
    merged = dict(theirs)
    for key in {**base, **ours}:
        before, mine = base.get(key, ABSENT), ours.get(key, ABSENT)
        if same(before, mine, alike):
            continue
        their = theirs.get(key, ABSENT)
        if rules and key in rules and not same(before, their, alike):
            mine = rules[key](before, mine, their)
        if mine is ABSENT:
            merged.pop(key, None)
        else:
            merged[key] = mine
    return merged


def same(a: Any, b: Any, alike: Alike = operator.eq) -> bool:
    """
    Return True if the two values are equal and of equal types throughout: 1 and True
    are different things in a session although Python calls them equal.

    What an object of a site's own class is equal to, only the site knows: Django's
    models, for one, are equal if their ids are. Such objects are compared by alike.
    """
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], alike) for key in a)
    if isinstance(a, (list, tuple)):
        pairs = zip(a, b, strict=False)
        return len(a) == len(b) and all(same(x, y, alike) for x, y in pairs)
    if type(a).__module__ not in TRUSTED:
        return alike(a, b)
    return bool(a == b) or (a != a and b != b)  # NaN is what it was before.


def add(base: Any, ours: Any, theirs: Any) -> Any:
    """
    Merge a counter: both sides' increments count. A side that removed the
    counter, or holds something that is no number, is settled as without a rule.
    """
    if not (_is_number(ours) and _is_number(theirs)):
        return ours
    return ours + theirs - (base if _is_number(base) else 0)


def union(base: Any, ours: Any, theirs: Any) -> Any:
    """
    Merge a list or a set of values: what either side added is there, what either
    side removed is not. A list keeps their order, then what we added. Sides of
    another kind are settled as without a rule.
    """
    if not (_is_collection(ours) and _is_collection(theirs)):
        return ours
    before = list(base) if _is_collection(base) else []
    kept = [value for value in theirs if value in ours or value not in before]
    added = [value for value in ours if value not in before and value not in kept]
    return type(ours)(kept + added)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_collection(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset))
