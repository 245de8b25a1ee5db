"""
What happens to a trip on its way: what is sent again and what never, and when a client
is replaced. No server: clients are only looked at, and time is what the test says.
"""

import asyncio
import logging

import pytest

from django_valkey_sessions import flow
from django_valkey_sessions.client import delivery, places, reach, times
from django_valkey_sessions.client.errors import (
    ReadOnly,
    Redirected,
    WithErrors,
    WrongType,
    translated,
)
from django_valkey_sessions.client.links import Blocking, Native
from django_valkey_sessions.exceptions import (
    ConnectionLost,
    ReplyLost,
    SessionStoreUnavailable,
)
from django_valkey_sessions.flow import Call

GET, SET, TTL = ["GET", "session:a"], ["SET", "session:b", "1"], ["PTTL", "session:c"]


class Time:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def time(monkeypatch):
    fake = Time()
    for module in (delivery, places, reach):
        monkeypatch.setattr(module, "time", fake)
    return fake


@pytest.fixture
def link(settings, time):
    settings.VALKEY_SESSIONS = {}
    link = Blocking(reach.Reach(), reach.Replicas())
    link.client = "the client"
    link.remade = []
    link.remake_soon = link.remade.append
    return link


@pytest.fixture
def clustered(settings, link):
    settings.VALKEY_SESSIONS = {"CLUSTER": True}
    link.in_cluster = True


def answered(delivery, *replies):
    """Drive a delivery by these replies; return its result and what it has sent."""
    sent = [next(delivery)]
    for reply in replies:
        try:
            sent.append(
                delivery.throw(reply)
                if isinstance(reply, Exception)
                else delivery.send(reply)
            )
        except StopIteration as done:
            return done.value, sent
    raise AssertionError(f"Another reply is waited for, to {sent[-1]}.")


def fail(link, trip, error=None):
    with pytest.raises(ReplyLost):
        answered(link.delivery(trip), error or ReplyLost("…"))


# Sent again, or not.


def test_a_reply_is_handed_over(link):
    assert answered(link.delivery(GET), b"1") == (b"1", [GET])
    assert answered(link.delivery((GET, SET)), [b"1", "OK"]) == (
        [b"1", "OK"],
        [(GET, SET)],
    )


def test_what_a_replica_refused_is_sent_again_to_the_primary(link):
    reply, sent = answered(link.delivery(SET), ReadOnly("…"), None, "OK")
    assert reply == "OK"
    assert [sent[0], sent[2]] == [SET, SET]
    assert isinstance(sent[1], Call)


def test_only_what_a_replica_refused_is_sent_again(link):
    replies = [b"1", ReadOnly("…"), 1]
    reply, sent = answered(link.delivery((GET, SET, TTL)), replies, None, ["OK"])
    assert reply == [b"1", "OK", 1]
    assert sent[2] == (SET,)


def test_a_replica_that_refuses_again_is_an_error(link):
    with pytest.raises(ReadOnly):
        answered(link.delivery(SET), ReadOnly("…"), None, ReadOnly("…"))


def test_if_there_is_no_primary_that_is_the_error(link):
    gone = SessionStoreUnavailable("There is none.")
    with pytest.raises(SessionStoreUnavailable, match="There is none"):
        answered(link.delivery(SET), ReadOnly("…"), gone)


@pytest.mark.parametrize("step", [0, 1])
def test_what_was_done_is_told_although_the_rest_fails(link, step):
    failure = ReplyLost("…")
    replies = [None, failure][1 - step :]
    reply, _ = answered(link.delivery((GET, SET)), [b"1", ReadOnly("…")], *replies)
    assert reply == [b"1", failure]


def test_a_client_that_has_just_been_found_is_not_replaced_by_a_refusal(link, time):
    link.replaced_at = time.now - delivery.REPLACED_EVERY + 0.1
    refusal = ReadOnly("…")
    with pytest.raises(ReadOnly):
        answered(link.delivery(SET), refusal)
    assert answered(link.delivery((GET, SET)), [b"1", refusal]) == (
        [b"1", refusal],
        [(GET, SET)],
    )


@pytest.mark.parametrize("kind", [ReplyLost, ConnectionLost])
@pytest.mark.parametrize("trip", [SET, (GET, SET)])
def test_what_may_have_been_done_is_never_sent_again(link, kind, trip):
    with pytest.raises(kind):
        answered(link.delivery(trip), kind("…"))


def test_what_a_node_did_not_do_is_sent_alone(link, clustered):
    moved = [Redirected("…"), b"1", Redirected("…")]
    wrong = WrongType("…")
    reply, sent = answered(link.delivery((GET, SET, TTL)), moved, b"2", wrong)
    assert reply == [b"2", b"1", wrong]
    assert sent[1:] == [GET, TTL]


def test_what_may_wait_for_the_same_silent_node_is_not_sent(link, clustered):
    moved, silence = [Redirected("…"), Redirected("…")], ReplyLost("…")
    reply, sent = answered(link.delivery((GET, SET)), list(moved), silence)
    assert reply == [silence, moved[1]]
    assert len(sent) == 2


# The same with a client, which comes to that only where there is something to see to.


@pytest.fixture(params=["sync", "async"])
def carry(request, link):
    """Carry a trip that has these outcomes; return the reply, and what was sent."""
    sent = []

    def send(trip):
        sent.append(trip)
        if isinstance(outcome := outcomes.pop(0), Exception):
            raise outcome
        return outcome

    async def asend(trip):
        return send(trip)

    async def aremake(used):
        return send("a client")

    def carry(trip, *given):
        outcomes[:] = given
        if request.param == "sync":
            link.send, link.remake = send, lambda used: send("a client")
            return link.carry(trip), sent
        link.send, link.remake = asend, aremake
        return asyncio.run(Native.carry(link, trip)), sent

    outcomes = []
    return carry


def test_a_reply_that_asks_for_nothing_is_handed_over(carry):
    assert carry(GET, b"1") == (b"1", [GET])
    assert carry((GET, SET), [b"1", "OK"]) == ([b"1", "OK"], [GET, (GET, SET)])


@pytest.mark.parametrize("trip", [GET, (GET, SET)])
def test_a_client_whose_replies_are_lost_is_replaced(link, carry, time, trip):
    for _ in range(2):
        with pytest.raises(ReplyLost):
            carry(trip, ReplyLost("…"))
        time.now += delivery.FAILING
    assert link.remade == ["the client"]


def test_what_a_replica_refused_is_carried_to_the_primary(carry):
    refused = carry(SET, ReadOnly("…"), None, "OK")
    assert refused == ("OK", [SET, "a client", SET])


def test_of_several_too(carry):
    replies = WithErrors([b"1", ReadOnly("…")])
    reply, sent = carry((GET, SET), replies, None, ["OK"])
    assert reply == [b"1", "OK"]
    assert sent[1:] == ["a client", (SET,)]


def test_an_answer_after_a_failure_is_taken_note_of(link, carry):
    with pytest.raises(ReplyLost):
        carry(GET, ReplyLost("…"))
    carry(SET, "OK")
    assert link.failing == {}


# Where the server is looked for.


class Servers:
    """Each address is up, or down, or hangs until GLIDE gives it up."""

    def __init__(self, time, **states):
        self.time, self.states, self.asked = time, states, []

    def connect(self, addresses):
        self.asked.append(addresses)
        states = [self.states[host] for host, _ in addresses]
        if "hangs" in states:
            self.time.now += times.CONNECTION_TIMEOUT / 1000
        if "up" in states:
            return "a client"
        raise SessionStoreUnavailable(f"{addresses[0][0]} {states[0]}")

    def find(self, last=()):
        return flow.run(places.found(self.connect, last), None)[1]


def listed(**states):
    return [f"valkey://{host}" for host in states]


def test_a_server_and_its_replicas_are_asked_together(settings, time):
    states = {"a": "down", "b": "up"}
    settings.VALKEY_SESSIONS = {"LOCATION": listed(**states)}
    there = Servers(time, **states)
    assert there.find() == "a client"
    assert there.asked == [(("a", 6379), ("b", 6379))]


@pytest.mark.parametrize("state", ["down", "hangs"])
def test_nodes_of_a_cluster_are_asked_one_after_the_other(settings, time, state):
    states = {"a": state, "b": "up"}
    settings.VALKEY_SESSIONS = {"LOCATION": listed(**states), "CLUSTER": True}
    orders = set()
    while len(orders) < 2:
        there = Servers(time, **states)
        assert there.find() == "a client"
        orders.add(tuple(there.asked))
    a, b = ((("a", 6379),)), ((("b", 6379),))
    assert orders == {(b,), (a, b)}


def test_where_the_primary_was_is_looked_for_last(settings, time):
    states = {"a": "up", "b": "up", "c": "up"}
    settings.VALKEY_SESSIONS = {"LOCATION": listed(**states), "CLUSTER": True}
    there = Servers(time, **states)
    last = (("a", 6379),)
    for _ in range(20):
        there.find(last)
    assert last not in there.asked


def test_there_is_no_time_for_all_nodes_of_a_cluster_that_hangs(settings, time):
    states = dict.fromkeys("abcdef", "hangs")
    settings.VALKEY_SESSIONS = {"LOCATION": listed(**states), "CLUSTER": True}
    there = Servers(time, **states)
    with pytest.raises(SessionStoreUnavailable, match="hangs"):
        there.find()
    assert len(there.asked) == 2


# Confirmed by replicas, or not.


@pytest.fixture
def confirmed(settings, link):
    settings.VALKEY_SESSIONS = {"REPLICAS_ACK": 2}


WAIT = ["WAIT", "2", delivery.CONFIRMATION]


def test_nothing_is_confirmed_unless_the_settings_say_so(link):
    assert answered(link.delivery(SET), "OK") == ("OK", [SET])


def test_what_changes_nothing_is_not_confirmed(link, confirmed):
    assert answered(link.delivery(GET), b"1") == (b"1", [GET])
    assert answered(link.delivery((GET, TTL)), [b"1", 1]) == ([b"1", 1], [(GET, TTL)])


def test_a_change_is_confirmed_in_the_same_round_trip(link, confirmed):
    assert answered(link.delivery(SET), ["OK", 2]) == ("OK", [(SET, WAIT)])
    reply, sent = answered(link.delivery((GET, SET)), [b"1", "OK", 3])
    assert reply == [b"1", "OK"]
    assert sent == [(GET, SET, WAIT)]


def test_the_error_of_a_change_is_not_that_of_its_confirmation(link, confirmed):
    with pytest.raises(WrongType):
        answered(link.delivery(SET), [WrongType("…"), 0])


def test_a_change_that_a_replica_refused_is_confirmed_by_the_primary(link, confirmed):
    refused = [ReadOnly("…"), ReadOnly("…")]
    reply, sent = answered(link.delivery(SET), refused, None, ["OK", 2])
    assert (reply, sent[2]) == ("OK", (SET, WAIT))


def test_replicas_that_do_not_confirm_are_not_waited_for_all_the_time(
    link, time, confirmed
):
    assert answered(link.delivery(SET), ["OK", 0]) == ("OK", [(SET, WAIT)])
    assert answered(link.delivery(SET), "OK") == ("OK", [SET])
    time.now += reach.FAILURE_REMEMBERED
    finding_out = link.delivery(SET)
    assert next(finding_out) == (SET, WAIT)
    assert next(link.delivery(SET)) == SET
    with pytest.raises(StopIteration):
        finding_out.send(["OK", 2])
    assert next(link.delivery(SET)) == (SET, WAIT)


@pytest.mark.parametrize(
    ("count", "told"), [(1, "1 of 2"), (SessionStoreUnavailable("…"), "none of 2")]
)
def test_that_replicas_do_not_confirm_is_told_once(
    link, time, confirmed, caplog, count, told
):
    for reply in (2, count, count, 3, 2):
        answered(link.delivery(SET), ["OK", reply])
        time.now += reach.FAILURE_REMEMBERED
    silent, again = caplog.messages
    assert f"but {told} replicas have confirmed them" in silent
    assert again == "Changes are confirmed by 3 replicas again."


# Replaced, or not.


def test_one_failure_replaces_nothing(link):
    fail(link, GET)
    assert link.remade == []


def test_failures_for_a_while_replace_the_client(link, time):
    fail(link, GET)
    time.now += delivery.FAILING
    fail(link, SET)
    assert link.remade == ["the client"]


def test_an_answer_between_failures_keeps_the_client(link, time):
    fail(link, GET)
    answered(link.delivery(SET), "OK")
    time.now += delivery.FAILING
    fail(link, GET)
    assert link.remade == []


def test_a_client_is_not_replaced_all_the_time(link, time):
    link.replaced_at = time.now
    for _ in range(4):
        fail(link, GET)
        time.now += (delivery.REPLACED_EVERY - 0.1) / 3
    assert link.remade == []
    time.now += 0.1
    fail(link, GET)
    assert link.remade == ["the client"]


def test_failures_of_a_client_that_was_replaced_meanwhile_mean_nothing(link, time):
    under_way = [link.delivery(GET), link.delivery(GET)]
    assert [next(one) for one in under_way] == [GET, GET]
    link.client = "another one"
    for one in under_way:
        with pytest.raises(ReplyLost):
            one.throw(ReplyLost("…"))
        time.now += delivery.FAILING
    assert link.remade == []


def test_in_a_cluster_answers_of_other_nodes_do_not_hide_one_that_hangs(
    link, time, clustered
):
    fail(link, GET)
    answered(link.delivery(SET), "OK")
    time.now += delivery.FAILING
    reply, _ = answered(link.delivery((SET, GET)), ["OK", ReplyLost("…")])
    assert isinstance(reply[1], ReplyLost)
    assert link.remade == ["the client"]


def test_in_a_cluster_an_answer_of_the_same_node_keeps_the_client(
    link, time, clustered
):
    fail(link, GET)
    answered(link.delivery((GET, SET)), [b"1", "OK"])
    time.now += delivery.FAILING
    fail(link, SET)
    assert link.remade == []


def test_sentences_in_which_glide_redirects():
    import glide_shared.exceptions as glide

    said = "An error was signalled by the server: - {}: 15495 127.0.0.1:7000"
    for word in ("Moved", "Ask"):
        error = glide.RequestError(said.format(word))
        assert isinstance(translated(error), Redirected)
    error = glide.RequestError("ERR: unknown task: 17")
    assert not isinstance(translated(error), Redirected)


# What the log is told.


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "django_valkey_sessions")
    return caplog


def test_one_failure_is_not_told(link, log):
    fail(link, GET)
    assert log.messages == []


def test_an_outage_is_told_once_and_so_is_its_end(link, time, log):
    for _ in range(20):
        fail(link, GET, ReplyLost("Valkey at h:6379 did not answer."))
        time.now += 0.2
    for _ in range(50):
        time.now += 0.2
        answered(link.delivery(GET), b"1")
    assert log.messages == [
        "Sessions can't be reached. Valkey at h:6379 did not answer.",
        "Sessions can be reached again: Valkey at 127.0.0.1:6379 answers, after 4.2 s.",
    ]


def test_a_refusal_of_a_replica_is_told(link, time, log):
    answered(link.delivery(SET), ReadOnly("It is a replica."), None, "OK")
    answered(link.delivery((SET,)), [ReadOnly("It is a replica.")], None, ["OK"])
    assert log.messages == ["Sessions can't be reached. It is a replica."]


def test_it_is_not_back_while_answers_and_failures_take_turns(link, time, log):
    for _ in range(20):
        fail(link, GET)
        time.now += delivery.FAILING
        fail(link, GET)
        answered(link.delivery(SET), "OK")
        time.now += reach.STEADY - 0.1
        answered(link.delivery(SET), "OK")
    assert len(log.messages) == 1
