"""
Store sessions of the previous engine here, each once: what has ended, here or over
there, never comes back. previous.py reads them, and moving.py moves all of them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from . import codec, index, keys, previous
from .client import WrongType
from .conf import conf
from .flow import Call, Command, Flow, Trip
from .index import Entry, user_of
from .previous import Engine, Found, Missed
from .scripts import (
    ADOPT,
    NO_STRING,
    Evaluation,
    again,
    key_of,
    raise_first,
    together,
    twice,
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A session of the previous engine, as it is to be stored."""

    found: Found
    blob: bytes = field(repr=False)
    lifetime: int  # Milliseconds.


def arrival(found: Found, payload: bytes) -> Arrival:
    """Prepare the session with this payload."""
    seconds = found.lifetime
    if conf.MAX_LIFETIME is not None:
        seconds = min(seconds, conf.MAX_LIFETIME)
    lifetime = int(seconds * 1000)
    expires = None if conf.EXPIRE else codec.expiry_in(lifetime)
    blob = codec.pack(payload, found.id, int(time.time()), expires)
    return Arrival(found, blob, lifetime)


def move_in(engine: Engine, id: str, reading: Call, serializer: Any) -> Flow[Any]:
    """
    Move the session here that this call reads, unless it was moved before. Return the
    value that is stored then; None if there is no session.
    """
    trip: Trip = (["EXISTS", moved_key_of(id)], ["GET", key_of(id)])
    try:
        moved, blob = yield from twice(trip)
    except WrongType:
        return NO_STRING
    if moved:
        return blob  # Moved by another request just now, if it is here.
    found = yield reading
    if isinstance(found, Missed):
        return None
    one = arrival(found, codec.serialize(found.data, serializer))
    ((value, _),) = yield from adopt(engine, [one])
    return value


def adopt(engine: Engine, arrivals: Sequence[Arrival]) -> Flow[list[tuple[Any, bool]]]:
    """
    Store sessions of the previous engine, together. Return for each the value that is
    stored then, None if it has ended, and True if it was stored just now.
    """
    replies = yield from again(lambda: _adopted(arrivals))
    pairs = list(zip(arrivals, replies, strict=True))
    stored = {one.found.id: one.found for one, reply in pairs if _is_of(one, reply)}
    ended = yield from _end_what_ended(engine, stored)
    states: list[tuple[Any, bool]] = []
    for one, reply in pairs:
        if one.found.id in ended:
            states.append((None, False))
        elif one.found.id in stored:
            states.append((one.blob, True))
        else:
            states.append((NO_STRING if reply == b"" else reply, False))
    return states


def _adopted(arrivals: Sequence[Arrival]) -> Flow[list[Any]]:
    """Store them, and their entries in the indexes of their users beside them."""
    entries = [
        Entry(one.found.id, one.lifetime, user_of(one.found.data)) for one in arrivals
    ]
    adding = index.adding(entries)
    replies = yield from together([*map(_adopting, arrivals), *adding])
    adopted = replies[: len(arrivals)]
    raise_first(adopted)
    index.note(replies[len(arrivals) :])
    return adopted


def _adopting(one: Arrival) -> Evaluation:
    id, lifetime = one.found.id, str(one.lifetime) if conf.EXPIRE else ""
    words = (one.blob, lifetime, _note(one.found.lifetime))
    return Evaluation(ADOPT, [key_of(id), moved_key_of(id)], words)


def _end_what_ended(engine: Engine, stored: dict[str, Found]) -> Flow[set[str]]:
    """
    Of the sessions that were stored just now, end those that the previous engine does
    not have any more: who has logged out over there meanwhile stays logged out.
    """
    if not stored:
        return set()
    still: set[str] = yield previous.looking_again(engine, list(stored.values()))
    ended = stored.keys() - still
    if ended:
        removals = [
            index.removal(id, user_of(found.data))
            for id, found in stored.items()
            if id in ended
        ]
        raise_first((yield from again(lambda: index.all_written(removals))))
    return ended


def adoptable(ids: Sequence[str]) -> Flow[list[tuple[Any, bool]]]:
    """Return for each of the sessions what adopt() would, but store nothing."""
    commands: list[Command] = []
    for id in ids:
        commands += [["EXISTS", key_of(id)], ["EXISTS", moved_key_of(id)]]
    replies = yield from twice(tuple(commands))
    pairs = zip(replies[::2], replies[1::2], strict=True)
    return [(here or None, not here and not moved) for here, moved in pairs]


def _is_of(one: Arrival, reply: Any) -> bool:
    """Return True if the reply of ADOPT says that this one is stored."""
    stamp = codec.stamp_of(one.blob)
    # After a lost reply it is sent again, and then finds what it stored itself.
    return isinstance(reply, bytes) and stamp in (reply, codec.stamp_of(reply))


def end_over_there(id: str, ending: Call | None) -> Flow[None]:
    """
    End the session in the previous engine, and take note of that: a request that has
    read it there a moment ago may be about to store it here.
    """
    if ending is None:
        return
    left = yield ending
    if left:
        yield from twice(["SET", moved_key_of(id), "", "PX", _note(left)])


def _note(lifetime: float) -> str:
    """
    Return for how many milliseconds it is noted that a session was moved, which could
    live for so many seconds: as long as it may come back. Hosts with the old settings
    may still prolong it over there, and each time for the age of its cookie.
    """
    return str(int((lifetime + settings.SESSION_COOKIE_AGE) * 1000))


@sensitive_variables("session_key")
def over_there(
    what: Callable[[Engine, str], Call], session_key: str | None
) -> Call | None:
    """Return what is to be done with the session in the previous engine, if any."""
    engine = previous.in_use()
    if engine is None or session_key is None:
        return None
    return what(engine, session_key)


def moved_key_of(id: str) -> str:
    """Return the key under which Valkey notes that the session was moved here."""
    return keys.moved_key(conf.PREFIX, id)
