"""
A dictionary from the site's own sessions, without what is somebody's own.

A dictionary holds pieces of what it was trained on. So it is not trained on sessions as
they are, but on copies of them in which every value, and every key, that is not common
to several people is replaced by random text of the same shape. What looks like a secret
or an address is replaced even if it is common.
"""

import os
import random
import re
import statistics
import string
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import codec
from ..conf import conf
from ..sessions import SessionInfo

#: What fewer people have in their sessions is theirs.
COMMON = 5
#: So many sessions are needed, or there is nothing to learn that lasts.
MINIMUM = 200
#: One in so many sessions is not trained on, but measured.
HELD_OUT = 5
#: Bytes. What a larger session repeats it repeats itself, and needs no dictionary for.
LARGEST = 65536

#: Hashes, UUIDs, tokens, clocks and mail addresses. Tokens have more capitals than the
#: names of classes.
PRIVATE = re.compile(
    r"[0-9A-Fa-f]{16,}"
    r"|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    r"|(?=[0-9a-z_-]{0,5}[A-Z](?:[0-9a-z_-]{0,12}[A-Z]){6})[0-9A-Za-z_-]{20,}"
    r"|\d{9,}"
    r"|@"
)
#: What stays, because it is the shape of a text and not what it says.
SHAPE = frozenset(" -_:;/.,@+=?&%#\"'()[]{}<>")
HEX = re.compile(r"[0-9a-f-]+")


@dataclass(frozen=True, slots=True)
class Sample:
    owner: str  # Of whom there may be several sessions.
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trained:
    """A dictionary, and what it is worth for sessions that it was not trained on."""

    number: int
    content: bytes
    measured: int  # So many sessions.
    before: float  # Bytes of a body, the median, with the dictionary that is in use ...
    after: float  # ... and with this one.


def samples(infos: Iterable[SessionInfo]) -> Iterator[Sample]:
    """Yield those of the sessions that can be learnt from."""
    for info in infos:
        if info.created is not None and info.size <= LARGEST:
            yield Sample(info.user_id or info.id, info.decode())


def train(found: list[Sample], number: int, serializer: Any) -> Trained:
    """Raise ValueError if there is too little to learn."""
    held_out, learnt = found[::HELD_OUT], found[:]
    del learnt[::HELD_OUT]
    mask = Mask(learnt)
    masked = [codec.serialize(mask.data(s.data), serializer) for s in learnt]
    content = codec.train(masked, number)
    payloads = [codec.serialize(sample.data, serializer) for sample in held_out]
    return Trained(
        number,
        content,
        len(payloads),
        statistics.median(codec.body_sizes(payloads)),
        statistics.median(codec.body_sizes(payloads, content)),
    )


def next_number() -> int | None:
    """
    Return the number after the site's own dictionaries, or one before them if there is
    none; None if all are taken.
    """
    taken = codec.own_dictionaries(conf.DICTIONARY)
    newest = max(taken, default=codec.FIRST_OWN - 1)
    numbers = range(codec.FIRST_OWN, codec.DICTIONARY + 1)
    free = [number for number in numbers if number not in taken]
    return min(free, key=lambda number: (number < newest, number), default=None)


def write(path: Path, content: bytes) -> None:
    """Write a file for its owner only. Raise FileExistsError if it is there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)


def instructions(path: Path, trained: Trained) -> str:
    """Return what is to be done for the site to use the dictionary."""
    used = conf.DICTIONARY or (None,)
    own = [str(known) for known in used if known is not None]
    readable = [*(None if known is None else str(known) for known in used), str(path)]
    return f"""
Written to {path}, as number {trained.number}. Only you can read it.

To use it:
1. Copy it to each host, and let the site's user read it. Put it last:
       "DICTIONARY": {readable}
   Now each host can read what it compresses.
2. When all hosts run with that, put it first:
       "DICTIONARY": {[str(path), *own]}

Keep the file for as long as sessions live that are compressed with it: without it they
can't be read. It holds keys and values that several people have in their sessions, such
as names of your forms and products, so keep it off public places. What looks like
names, hashes or tokens in it was made up."""


class Mask:
    """Replaces in sessions what is not common to several people."""

    def __init__(self, found: Iterable[Sample]) -> None:
        values: dict[str, set[tuple[type, Any]]] = {}
        for sample in found:
            values.setdefault(sample.owner, set()).update(_values(sample.data))
        self._owners = Counter(value for each in values.values() for value in each)

    def data(self, data: Any) -> Any:
        """Return a copy with other values in the place of those that are private."""
        if isinstance(data, dict):
            return {
                self._leaf(key, _Key): self.data(value) for key, value in data.items()
            }
        if isinstance(data, (list, tuple)):
            return type(data)(map(self.data, data)) if _is_plain(data) else None
        return self._leaf(data, type(data))

    def _leaf(self, value: Any, kind: type) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if not isinstance(value, (str, int, float)):
            return None  # Who knows what a site's own object says of itself.
        if self._owners[kind, value] >= COMMON and not PRIVATE.search(str(value)):
            return value
        return _stand_in(value)


class _Key:
    """Marks what stands before a value, which may be common there only."""


def _values(data: Any) -> Iterator[tuple[type, Any]]:
    """Yield the keys and values of a session, marked with what they are."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield _Key, key
            yield from _values(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _values(value)
    elif isinstance(data, (str, int, float)):
        yield type(data), data


def _is_plain(data: Any) -> bool:
    return type(data) in (list, tuple)


def _stand_in(value: str | int | float) -> Any:
    """Return something of the same shape that says nothing."""
    if isinstance(value, str):
        letters = "abcdef" if HEX.fullmatch(value) else string.ascii_lowercase
        return "".join(_other(character, letters) for character in value)
    if isinstance(value, float):
        return value * random.uniform(0.5, 1.5)  # noqa: S311
    return int("".join(_other(digit, "") for digit in str(int(value))))


def _other(character: str, letters: str) -> str:
    if character in SHAPE:
        return character
    if "0" <= character <= "9":
        return random.choice(string.digits)  # noqa: S311
    if "A" <= character <= "Z":
        return random.choice(string.ascii_uppercase)  # noqa: S311
    return random.choice(letters)  # noqa: S311
