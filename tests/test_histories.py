"""
Whatever two processes have done with the sessions of some users, the index knows these
sessions, and no others once it has been tidied.
"""

import contextlib
import time
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_valkey_sessions import client, keys, sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.conf import conf

from .other_process import OtherProcess

USERS = ("7", "8")
PROCESSES, NUMBERS = (0, 1), (0, 1)
#: What happens how often to each session.
WEIGHTS = {
    "login": 3,
    "open": 3,
    "save": 2,
    "touch": 3,
    "cycle_key": 3,
    "renew": 3,
    "logout": 1,
    "clear": 1,
}

#: (process, what it does, with which session, and what else it needs to know)
STEPS = [
    *(
        (process, what, number, *((user,) if what == "login" else ()))
        for what, weight in WEIGHTS.items()
        for process, number, user in product(PROCESSES, NUMBERS, USERS)
        for _ in range(weight)
    ),
    *(
        (process, "become", number, user)
        for process, number, user in product(PROCESSES, NUMBERS, (*USERS, None))
    ),
    *(
        (process, "set_expiry", number, seconds)
        for process, number, seconds in product(PROCESSES, NUMBERS, (50, -1))
    ),
    *(
        (None, what, number)
        for what, number in product(
            ("expire", "lose", "revoke", *("age",) * 6), NUMBERS
        )
    ),
    *((None, "revoke_user", user) for user in USERS),
]
HISTORIES = st.lists(st.sampled_from(STEPS), min_size=20, max_size=30)


@pytest.fixture(params=["server", "cluster"])
def processes(request, settings):
    request.getfixturevalue("engine" if request.param == "server" else "clustered")
    settings.VALKEY_SESSIONS = {
        **settings.VALKEY_SESSIONS,
        "TOUCH_INTERVAL": 0,
        "MAX_SESSIONS_PER_USER": 3,
    }
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                contextlib.closing(OtherProcess(settings.VALKEY_SESSIONS))
            )
            for _ in range(2)
        ]


def happen(processes, step, known):
    """Let it happen, if it can; ``known`` are the last keys of the sessions."""
    process, what, *arguments = step
    if process is not None:
        (number, *_), opened = arguments, processes[process].opened
        if what == "open":
            arguments.append(known.get(number))
        elif what != "login" and number not in opened:
            return
        key = processes[process].do(what, *arguments)
        opened.add(number)
        known[number] = key or known.get(number)
    elif what == "revoke_user":
        sessions.revoke_user(*arguments)
    elif known.get(arguments[0]):
        id = keys.session_id(known[arguments[0]])
        if what == "revoke":
            sessions.revoke(id)
        elif what == "age":
            age(id)
        else:  # The server's own doing: it expires, or is evicted.
            stored = keys.stored_key(conf.PREFIX, id)
            lose = {"expire": ["PEXPIRE", stored, "0"], "lose": ["UNLINK", stored]}
            client.execute(lose[what])


def age(id):
    """Let so much time have passed since the session was used that it ends soon."""
    client.execute(["PEXPIRE", keys.stored_key(conf.PREFIX, id), "60000"])
    for user in USERS:
        key = keys.index_key(conf.PREFIX, user)
        client.execute(["ZADD", key, "XX", str(int(time.time()) + 61), id])
        client.execute(["EXPIRE", key, "1209600"])


def truth():
    """Return whose sessions there are, as the sessions say."""
    found = {user: set() for user in USERS}
    for info in sessions.iterate():
        if info.user_id is not None:
            found[info.user_id].add(info.id)
    return found


def index():
    """Return the same as the index says."""
    found = {}
    for user in USERS:
        words = ["ZRANGE", keys.index_key(conf.PREFIX, user), "0", "-1"]
        found[user] = {member.decode() for member in client.execute(words)}
    return found


def check_that_no_entry_ends_before_its_session():
    for user, ids in truth().items():
        index = keys.index_key(conf.PREFIX, user)
        for id in ids:
            stored = keys.stored_key(conf.PREFIX, id)
            ends = client.execute(["PEXPIRETIME", stored]) / 1000
            assert ends <= float(client.execute(["ZSCORE", index, id]))
            assert ends <= client.execute(["PEXPIRETIME", index]) / 1000


@pytest.mark.parametrize("examples", [30])
def test_the_index_equals_the_truth(processes, examples):
    for process in processes:
        process.opened = set()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(HISTORIES)
    def check(history):
        SessionStore.clear_all()
        known = {}
        for process in processes:
            process.opened.clear()
        for step in history:
            happen(processes, step, known)
            check_that_no_entry_ends_before_its_session()
        there = truth()
        # The harmless side: what is there is known, before anything is tidied.
        for user in USERS:
            assert there[user] <= index()[user]
        SessionStore.clear_expired()
        for user in USERS:
            listed = {info.id for info in sessions.for_user(user)}
            assert listed == there[user]
            assert len(listed) <= 3
        left = index()
        if conf.CLUSTER:
            # A save that others got in the way of may have entered a session for a user
            # who is not its own, or not any more. It stays until it ends: see
            # index.forget().
            alive = {info.id for info in sessions.iterate()}
            left = {user: ids - (alive - there[user]) for user, ids in left.items()}
        assert left == there
        for user in USERS:
            assert sessions.revoke_user(user) == len(there[user])
        assert truth() == {user: set() for user in USERS}

    check()
