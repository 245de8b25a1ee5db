"""
What more than one flow sends: the scripts, and the ways to send scripts and commands.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from django.utils.encoding import force_bytes

from . import keys
from .client import ScriptMissing
from .conf import conf
from .exceptions import ConnectionLost, ReplyLost, SessionStoreUnavailable
from .flow import Command, Flow, Reading, Trip

T = TypeVar("T")
Key = TypeVar("Key", str, bytes)

#: How many sessions are read, or ended, in one round trip. Some are large.
CHUNK = 100
#: So many bytes of sessions are enough for one script to read.
ENOUGH = "262144"
#: In a cluster each slot has a script of its own, and so many are sent together.
SLOTS_AT_ONCE = 16


class Script(str):
    """A Lua script, with the name that the server gives it."""

    sha: str
    reads: bool  # And changes nothing.

    def __new__(cls, source: str, reads: bool = False) -> "Script":
        script = super().__new__(cls, source)
        script.reads = reads
        script.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        return script


#: Whether a value that begins like this leads to a session: see codec.py.
_LEADS = """
local function leads(head)
  local version, flags = string.byte(head, 1, 2)
  return version == 1 and flags and flags % 64 >= 32
end
"""

#: Replace the session at KEYS[1] by a value, which expires after px milliseconds (none:
#: never; KEEPTTL: when it would have; 0 or less: the session is removed), if its stamp
#: is the expected one (none: in any case).
#:
#: The answer is nothing if there is no such session; the stored value if its stamp is
#: another one; else the stamp of the new value, so that a reply that GLIDE has mixed up
#: is never taken for success. A value that only leads to a session (see renewal.py) is
#: replaced by nobody who does not name its stamp.
_SWAP = f"""{_LEADS}
local head = redis.call('GETRANGE', KEYS[1], 0, 17)
local stamp = string.sub(head, 7)
if head == '' and redis.call('EXISTS', KEYS[1]) == 0 then return gone() end
if stamp ~= expected and (expected ~= '' or leads(head)) then
  return redis.call('GET', KEYS[1])
end
if px == '' then
  redis.call('SET', KEYS[1], value)
elseif px == 'KEEPTTL' then
  redis.call('SET', KEYS[1], value, 'KEEPTTL')
elseif tonumber(px) > 0 then
  redis.call('SET', KEYS[1], value, 'PX', px)
else
  redis.call('UNLINK', KEYS[1])
end
return swapped(string.sub(value, 7, 18))
"""

SWAP = Script(f"""
local expected, value, px = ARGV[1], ARGV[2], ARGV[3]
local function gone() return false end
local function swapped(stamp) return stamp end
{_SWAP}""")

#: The id of the session at KEYS[1], which need not be sent a second time.
_ID = f"local id = string.sub(KEYS[1], -{keys.ID_SIZE})"

#: Let the index of users' sessions follow what was done with the session of this id,
#: which lives for ARGV[1] milliseconds. ARGV[2] has a sign for each of the indexes that
#: stand from KEYS[first] on: + the session belongs in, > also, and so does not before
#: an earlier end than it has there, - it does not.
#:
#: An index that can't be written is no reason to fail: the answer is the error's text,
#: or nothing. The clock is the server's, because web hosts' differ.
_FOLLOW = """
local function enter(index, sign)
  local now = redis.call('TIME')
  local ends = math.ceil(now[1] + now[2] / 1000000 + ARGV[1] / 1000)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. now[1])
  if sign == '>' then
    redis.call('ZADD', index, 'GT', ends, id)
  else
    redis.call('ZADD', index, ends, id)
  end
  redis.call('EXPIREAT', index, redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2])
end
local function leave(index)
  redis.call('ZREM', index, id)
end
local function follow(first, lives)
  local text = ''
  for n = first, #KEYS do
    local sign = string.sub(ARGV[2], n - first + 1, n - first + 1)
    local step = (lives and sign ~= '-' and tonumber(ARGV[1]) > 0) and enter or leave
    local done, problem = pcall(step, KEYS[n], sign)
    if not done then
      text = type(problem) == 'table' and problem.err or tostring(problem)
    end
  end
  return text
end
"""

#: SWAP, and the index follows: then the answer is the stamp and the index's.
SWAP_AND_FOLLOW = Script(f"""{_ID}{_FOLLOW}
local expected, value, px = ARGV[3], ARGV[4], ARGV[5]
local function gone() follow(2, false) return false end
local function swapped(stamp) return {{stamp, follow(2, true)}} end
{_SWAP}""")

#: Send the command ARGV[3] with KEYS[1] and the other words, and the index follows: the
#: answer is the command's and the index's. It is nothing if the command did nothing
#: because of what is stored, and 0 says that nothing is.
SEND_AND_FOLLOW = Script(f"""{_ID}{_FOLLOW}
local reply = redis.call(ARGV[3], KEYS[1], unpack(ARGV, 4))
if not reply then return false end
return {{reply, follow(2, reply ~= 0)}}
""")

#: Let the session at KEYS[1] live for px milliseconds from now if it has the expected
#: stamp (none: in any case). The answer is 1; 0 if there is no such session; 2 if it
#: has another stamp: who has saved it since has renewed it, and knows whose it is; 3 if
#: it only leads to a session, which is the one to touch.
_TOUCH = f"""{_LEADS}
local head = redis.call('GETRANGE', KEYS[1], 0, 17)
if head == '' and redis.call('EXISTS', KEYS[1]) == 0 then return touched(0) end
if leads(head) then return touched(3) end
if expected ~= '' and string.sub(head, 7) ~= expected then return touched(2) end
return touched(redis.call('PEXPIRE', KEYS[1], px))
"""

TOUCH = Script(f"""
local expected, px = ARGV[1], ARGV[2]
local function touched(reply) return reply end
{_TOUCH}""")

TOUCH_AND_FOLLOW = Script(f"""{_ID}{_FOLLOW}
local expected, px = ARGV[3], ARGV[4]
local function touched(reply)
  if reply > 1 then return {{reply, ''}} end
  return {{reply, follow(2, reply == 1)}}
end
{_TOUCH}""")

#: Only the index, on the node of a cluster that has it.
FOLLOW = Script(f"local id = ARGV[3]{_FOLLOW}return follow(1, true)")

#: End the sessions from KEYS[2] on, in this order, until no more than ARGV[1] are left
#: in the index KEYS[1]. Of each ARGV has its id, its stamp, and for how many
#: milliseconds it lived at most when it was judged: one that was saved or touched since
#: then stays. The answer are the ids of those that were ended.
LIMIT = Script("""
local ended = {}
for n = 2, #KEYS do
  if redis.call('ZCARD', KEYS[1]) <= tonumber(ARGV[1]) then break end
  local id, stamp, lived = ARGV[3 * n - 4], ARGV[3 * n - 3], tonumber(ARGV[3 * n - 2])
  local same = redis.call('GETRANGE', KEYS[n], 6, 17) == stamp
  if same and redis.call('PTTL', KEYS[n]) <= lived then
    redis.call('UNLINK', KEYS[n])
    redis.call('ZREM', KEYS[1], id)
    table.insert(ended, id)
  end
end
return ended
""")

#: Remove entries from the index KEYS[1]: ARGV has the ids, each followed by the stamp
#: that its session, from KEYS[2] on, had when it was judged; empty: there was none.
#: Where that is another one by now, the entry may be right.
FORGET = Script("""
for n = 2, #KEYS do
  local id, stamp = ARGV[2 * n - 3], ARGV[2 * n - 2]
  if redis.call('GETRANGE', KEYS[n], 6, 17) == stamp then
    redis.call('ZREM', KEYS[1], id)
  end
end
""")

#: Read the session at KEYS[1]. The answer begins with ARGV[1], which shows that it is
#: the one to this question. Then come + and the value; - if that is no string; nothing
#: if there is none. One text, because a list could be taken for an answer of the index.
LOOK = Script(
    """
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'table' then
  if string.find(value.err, '^WRONGTYPE') then return ARGV[1] .. '-' end
  return value
end
return ARGV[1] .. (value and '+' .. value or '')
""",
    reads=True,
)

#: Read the sessions at KEYS, until more than ARGV[2] bytes are read. The answer begins
#: with ARGV[1], which shows that it is the one to this question. Then come, for each
#: that was read, the value (nothing if there is none, or it is no string), and how many
#: milliseconds it has left, as PTTL says it.
READ = Script(
    """
local found, size = {ARGV[1]}, 0
for n = 1, #KEYS do
  local value = redis.pcall('GET', KEYS[n])
  if type(value) == 'table' then
    if not string.find(value.err, '^WRONGTYPE') then return value end
    value = false
  end
  found[2 * n] = value
  found[2 * n + 1] = redis.call('PTTL', KEYS[n])
  size = size + (value and #value or 0)
  if size > tonumber(ARGV[2]) then break end
end
return found
""",
    reads=True,
)

#: Return the first ARGV[1] bytes of each of the sessions at KEYS: none if it is gone,
#: and nothing for what is no string.
BEGIN = Script(
    """
local found = {}
for n = 1, #KEYS do
  local head = redis.pcall('GETRANGE', KEYS[n], 0, ARGV[1] - 1)
  if type(head) == 'table' then
    if not string.find(head.err, '^WRONGTYPE') then return head end
    head = false
  end
  found[n] = head
end
return found
""",
    reads=True,
)

#: Remove the sessions at KEYS. The answer has, for each, 1, or 0 if it was gone.
REMOVE = Script("""
local done = {}
for n = 1, #KEYS do done[n] = redis.call('UNLINK', KEYS[n]) end
return done
""")

#: Read the first entries of the indexes at KEYS, up to the rank ARGV[1]. The answer has
#: for each the ids, or nothing if it is no index.
LIST = Script(
    """
local found = {}
for n = 1, #KEYS do
  local ids = redis.pcall('ZRANGE', KEYS[n], 0, ARGV[1])
  if ids.err then
    if not string.find(ids.err, '^WRONGTYPE') then return ids end
    ids = false
  end
  found[n] = ids
end
return found
""",
    reads=True,
)

#: Remove entries whose sessions are gone. KEYS has pairs of an index and a session, and
#: ARGV the ids of these.
TIDY = Script("""
for n = 1, #ARGV do
  if redis.call('EXISTS', KEYS[2 * n]) == 0 then
    redis.call('ZREM', KEYS[2 * n - 1], ARGV[n])
  end
end
""")

#: Store ARGV[1], a session of the previous engine, at KEYS[1], to expire after ARGV[2]
#: milliseconds (none: never); and for ARGV[3] milliseconds take note of that at
#: KEYS[2]. Unless the note is there already: then it was moved before, and if it is not
#: here any more, it has ended, and never comes back from over there.
#:
#: The answer is the stamp of ARGV[1] if it was stored, else what is stored; and empty
#: if that is no string.
ADOPT = Script("""
local here = redis.pcall('GET', KEYS[1])
if type(here) == 'table' then return '' end
if here or redis.call('EXISTS', KEYS[2]) == 1 then return here end
if ARGV[2] == '' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
redis.call('SET', KEYS[2], '', 'PX', ARGV[3])
return string.sub(ARGV[1], 7, 18)
""")

MIXED_UP = "Valkey's replies do not belong to the requests that they reach."

#: Stands for a stored value that is no string but a list, a set, a hash ...
NO_STRING = object()

#: The scripts that this process has sent in full, which is how the server learns them.
_sent: set[Script] = set()


class Evaluation(NamedTuple):
    """A script with what it works on."""

    script: Script
    keys: Sequence[str | bytes]
    arguments: Sequence[str | bytes]

    def command(self, full: bool = False) -> Command:
        """Return the command, in full where the server has to learn the script."""
        words: Command = [str(len(self.keys)), *self.keys, *self.arguments]
        if full or self.script not in _sent:
            words = ["EVAL", self.script, *words]
        else:
            words = ["EVALSHA", self.script.sha, *words]
        return Reading(words) if self.script.reads else words


Call = Command | Evaluation


def one(call: Call) -> Flow[Any]:
    """Send a command or a script; return its reply."""
    if not isinstance(call, Evaluation):
        return (yield call)
    try:
        reply = yield call.command()
    except ScriptMissing:
        # The server was restarted, or it is another node. It did nothing.
        reply = yield call.command(full=True)
    _sent.add(call.script)
    return reply


def together(calls: Sequence[Call]) -> Flow[list[Any]]:
    """
    Send commands and scripts in one round trip; return for each its reply, or the
    exception in its place.
    """
    trip = tuple(c.command() if isinstance(c, Evaluation) else c for c in calls)
    replies: list[Any] = list((yield trip))
    for number, (call, reply) in enumerate(zip(calls, replies, strict=True)):
        if not isinstance(call, Evaluation):
            continue
        if isinstance(reply, ScriptMissing):
            try:
                replies[number] = yield call.command(full=True)
            except Exception as error:  # It has its place, as those of the others.
                replies[number] = error
        if not isinstance(replies[number], Exception):
            _sent.add(call.script)
    return replies


def twice(trip: Trip) -> Flow[Any]:
    """Send what does no harm if it is done twice, and once more if that gets lost."""
    try:
        replies = yield trip
    except ConnectionLost:
        replies = yield trip
    if isinstance(trip, tuple):
        raise_first(replies)
    return replies


def again(begin: Callable[[], Flow[Any]]) -> Flow[Any]:
    """The same for a flow: begin it once more if its connection breaks."""
    try:
        return (yield from begin())
    except ConnectionLost:
        return (yield from begin())


def surely_stored(id: str) -> Flow[Any]:
    """
    Return the value of the session with this id: None if there is none, NO_STRING if it
    is of another type. Raise SessionStoreUnavailable if the reply is not surely to this
    question: GLIDE shares a connection between all threads, and can't notice when
    replies reach the wrong ones, be it several in a row.
    """
    mark = os.urandom(12)
    looking = Evaluation(LOOK, [key_of(id)], [mark])
    reply = yield from again(lambda: one(looking))
    if not isinstance(reply, bytes) or not reply.startswith(mark):
        raise SessionStoreUnavailable(MIXED_UP)
    start = len(mark)
    kind, value = reply[start : start + 1], reply[start + 1 :]
    return {b"+": value, b"-": NO_STRING}.get(kind)


def evaluated(
    script: Script, groups: Sequence[Sequence[Key]], *words: str | bytes
) -> Flow[list[Any]]:
    """
    Evaluate a script that does no harm if it is done twice on each of these groups of
    keys, in one round trip, and once more if that gets lost.
    """
    calls = [Evaluation(script, group, words) for group in groups]
    try:
        replies = yield from together(calls)
    except ReplyLost:
        replies = yield from together(calls)
    raise_first(replies)  # An error is never "not there".
    return replies


def by_node(found: Iterable[Key]) -> list[list[Key]]:
    """Group keys by what one script may work on: in a cluster, those in one slot."""
    slots: dict[int, list[Key]] = {}
    for key in found:
        slot = keys.slot(force_bytes(key)) if conf.CLUSTER else 0
        slots.setdefault(slot, []).append(key)
    return list(slots.values())


def stored(ids: Sequence[str]) -> Flow[dict[str, tuple[Any, Any]]]:
    """
    Return what is stored under some of these ids, at least one: the value, None if it
    is no session's, and PTTL. However large sessions are, that is so little that nobody
    else has to wait for long.
    """
    ids_of = dict(zip(keys_of(ids), ids, strict=True))
    groups = by_node(ids_of)[:SLOTS_AT_ONCE]
    mark = os.urandom(12)
    replies = yield from evaluated(READ, groups, mark, ENOUGH)
    found: dict[str, tuple[Any, Any]] = {}
    for group, reply in zip(groups, replies, strict=True):
        if not isinstance(reply, list) or reply[0] != mark:
            raise SessionStoreUnavailable(MIXED_UP)
        pairs = zip(reply[1::2], reply[2::2], strict=True)
        for key, pair in zip(group, pairs, strict=False):
            found[ids_of[key]] = pair
    return found


def raise_first(replies: Sequence[Any]) -> None:
    """Raise the first exception that stands in the place of a reply."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Divide what is to be sent together into what is not too much at once."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def keys_of(ids: Iterable[str]) -> list[str]:
    """Return the keys under which Valkey holds the sessions with these ids."""
    prefix = conf.PREFIX  # Once: reading a setting takes longer than all of the rest.
    return [keys.stored_key(prefix, id) for id in ids]


def key_of(id: str) -> str:
    """Return the key under which Valkey holds the session with this id."""
    return conf.PREFIX + id  # See keys.stored_key(), which would be a call more.
