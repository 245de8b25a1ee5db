"""Fill servers with sessions, faster than the engine would."""

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import valkey
from corpus import corpus
from django.core.signing import JSONSerializer
from train import TESTING
from valkey.client import Pipeline
from valkey.cluster import ValkeyCluster

from django_valkey_sessions import codec, keys
from tests.servers import Server

#: So many sessions of each kind of site are made, and stored over and over.
VARIETY = 100
PIPELINE = 1000
#: So many keys does a server store in one go.
STEP = 10_000
FORTNIGHT = 14 * 86400  # Seconds.
#: The last of them live for an hour.
AGES = range(60, FORTNIGHT - 3600, 997)

#: Store ARGV[1] at ARGV[3] keys after the number ARGV[2], which begin with ARGV[4]. If
#: ARGV[5] is not empty, make two of them entries of each index that begins with it. For
#: keys that need only be there.
COPIES = """
for n = ARGV[2] + 1, ARGV[2] + ARGV[3] do
  local id, lives = string.sub(redis.sha1hex(n), 1, 32), 3600 + n % 1200000
  redis.call('SET', ARGV[4] .. id, ARGV[1], 'EX', lives)
  if ARGV[5] ~= '' then
    local index = ARGV[5] .. math.floor(n / 2)
    redis.call('ZADD', index, 2000000000 + lives, id)
    redis.call('EXPIRE', index, lives)
  end
end
"""

Store = Callable[[Any, int, dict[str, Any], int], None]


def datas() -> list[dict[str, Any]]:
    """Return sessions of several kinds of sites. No dictionary was made from them."""
    kinds = corpus(VARIETY, TESTING).values()
    return [json.loads(text) for turn in zip(*kinds, strict=True) for text in turn]


def fill(
    connection: valkey.Valkey | ValkeyCluster, count: int, store: Store | None = None
) -> None:
    """Store so many sessions, by default as the engine does."""
    made = datas()
    store = store or as_the_engine
    now = int(time.time())
    for batch in batches(count):
        # In a cluster a pipeline has no transaction.
        options = {} if isinstance(connection, ValkeyCluster) else {"transaction": 0}
        with connection.pipeline(**options) as pipe:
            for number in batch:
                store(pipe, number, dict(made[number % len(made)]), now)
            pipe.execute()


def batches(count: int) -> Iterator[list[int]]:
    numbers = iter(range(count))
    while batch := list(islice(numbers, PIPELINE)):
        yield batch


def as_the_engine(pipe: Pipeline, number: int, data: dict[str, Any], now: int) -> None:
    """Store a session with its entry in the index. A user has two of them."""
    id = keys.session_id(str(number))
    age = AGES[number % len(AGES)]
    expires = now - age + FORTNIGHT
    if "_auth_user_id" in data:
        data["_auth_user_id"] = user = str(number // 2)
        index = keys.index_key("session:", user)
        pipe.zadd(index, {id: expires})
        pipe.expireat(index, expires)
    without_index(pipe, number, data, now)


def without_index(pipe: Pipeline, number: int, data: dict[str, Any], now: int) -> None:
    """Store only the session."""
    id = keys.session_id(str(number))
    age = AGES[number % len(AGES)]
    blob = codec.pack(codec.serialize(data, JSONSerializer), id, now - age)
    pipe.set(f"session:{id}", blob, exat=now - age + FORTNIGHT)


def large(size: int) -> Store:
    """Return what stores sessions with so many bytes that don't compress."""

    def store(pipe: Pipeline, number: int, data: dict[str, Any], now: int) -> None:
        text = base64.b64encode(os.urandom(size)).decode()
        without_index(pipe, number, {"noise": text}, now)

    return store


def copies(
    server: Server, count: int, prefix: str = "session:", index: str = ""
) -> None:
    """Let the server itself store so many keys as sessions have, with one value."""
    blob = codec.pack(codec.serialize(datas()[0], JSONSerializer), "0" * 32, 0)
    with server.connect() as connection:
        script = connection.register_script(COPIES)
        for start in range(0, count, STEP):
            script(args=[blob, start, STEP, prefix, index])
