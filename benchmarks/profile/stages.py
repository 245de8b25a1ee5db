"""
The stages of a read and of a write in this engine, each alone and by the clock: again
and again in a loop (hot), and after a command has been waited for (cold), as each is on
a site. In between others have used the caches of the processor.
"""

import os
import statistics
import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

from .. import data, floor

#: More sessions than the engine keeps ciphers of: those of two requests are seldom the
#: same.
SESSIONS = 300

Work = Callable[["Subject"], Any]


class Subject:
    """A session, and what it is on its way."""

    def __init__(self, number: int) -> None:
        from django.conf import settings

        from django_valkey_sessions import codec, keys
        from django_valkey_sessions.backend import SessionStore

        self.contents = data.small(number)
        self.key = f"{number:032d}"
        self.id = keys.session_id(self.key)
        self.serializer = SessionStore(self.key).serializer
        self.payload = codec.serialize(self.contents, self.serializer)
        self.created = int(time.time())
        self.value = codec.pack(self.payload, self.id, self.created)
        self.dictionary, self.body = codec._compress(self.payload)
        self.secret = settings.SECRET_KEY
        self.cipher = codec._cipher(self.secret, self.id)
        self.stamp = os.urandom(12)
        self.associated = self.id.encode()
        self.sealed = self.cipher.encrypt(self.stamp, self.body, self.associated)


def stages(times: int, port: int) -> list[dict[str, Any]]:
    """Return the microseconds of each stage, hot and cold, in a request's order."""
    client = floor.Glide(port)
    key = "floor:stages"
    client.set(key, floor.VALUE)
    subjects = [Subject(number) for number in range(SESSIONS)]

    def wait(_: Subject) -> None:
        client.get(key)

    def took(work: Work, *before: Work) -> float:
        return _median(work, before, [*islice(cycle(subjects), times)])

    # Of each figure what it takes to call something, and to read the clock.
    hot, cold = took(_nothing), took(_nothing, wait)
    found = []
    for name, (work, *before) in _works().items():
        figures = {"hot": took(work, *before), "cold": took(work, *before, wait)}
        found.append(
            {"name": name, "hot": figures["hot"] - hot, "cold": figures["cold"] - cold}
        )
    return found


def _median(work: Work, before: tuple[Work, ...], subjects: list[Subject]) -> float:
    """Return the microseconds of this, each time after what is to be done before."""
    spent = []
    for subject in subjects:
        for prepare in before:
            prepare(subject)
        began = time.perf_counter_ns()
        work(subject)
        spent.append(time.perf_counter_ns() - began)
    return statistics.median(spent) / 1000


def _nothing(one: Subject) -> None:
    pass


def _works() -> dict[str, tuple[Work, ...]]:
    """Return the stages by their names, each with what it needs before."""
    from django_valkey_sessions import codec, keys
    from django_valkey_sessions.backend import SessionStore

    def cipher(one: Subject) -> Any:
        return codec._cipher(one.secret, one.id)

    return {
        "id": (lambda one: keys.session_id(one.key),),
        "session object": (lambda one: SessionStore(one.key),),
        "open": (lambda one: codec.unpack(one.value, one.id),),
        "open: head": (lambda one: codec._head(one.value),),
        "open: cipher of the session": (cipher,),
        "open: decrypt": (
            lambda one: one.cipher.decrypt(one.stamp, one.sealed, one.associated),
        ),
        "open: decompress": (lambda one: codec._decompress(one.body, one.dictionary),),
        "deserialize": (lambda one: codec.deserialize(one.payload, one.serializer),),
        "serialize": (lambda one: codec.serialize(one.contents, one.serializer),),
        # A request seals with the cipher that it has opened with.
        "seal": (lambda one: codec.pack(one.payload, one.id, one.created), cipher),
        "seal: compress": (lambda one: codec._compress(one.payload),),
        "seal: random bytes": (lambda one: os.urandom(len(one.stamp)),),
        "seal: encrypt": (
            lambda one: one.cipher.encrypt(one.stamp, one.body, one.associated),
        ),
    }
