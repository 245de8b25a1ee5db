"""The two drivers of a flow, each test once on both."""

import asyncio
import time
import traceback

import pytest

from django_valkey_sessions.flow import Call, arun, run


@pytest.fixture(params=["run", "arun"])
def drive(request):
    """Drive a flow with an ``execute``, by either driver."""
    if request.param == "run":
        return run

    def drive(flow, execute):
        async def aexecute(trip):
            await asyncio.sleep(0)
            return execute(trip)

        return asyncio.run(arun(flow, aexecute))

    return drive


@pytest.fixture
def server():
    """
    The other end: it records the trips and answers with what it is told to, in this
    order. An exception is raised.
    """

    def execute(trip):
        execute.trips.append(trip)
        reply = execute.replies.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        return reply

    execute.trips = []
    execute.replies = []
    return execute


class Lost(Exception):
    pass


def asking(*commands):
    """Yield the commands one after the other; return the replies."""
    replies = []
    for command in commands:
        reply = yield command
        replies.append(reply)
    return replies


# Trips and replies.


def test_a_flow_without_a_trip_gives_its_result(drive, server):
    assert drive(asking(), server) == []
    assert server.trips == []


def test_trips_are_made_in_order_and_answered(drive, server):
    server.replies = [b"1", b"2"]
    assert drive(asking(["GET", "a"], ["GET", "b"]), server) == [b"1", b"2"]
    assert server.trips == [["GET", "a"], ["GET", "b"]]


def test_several_commands_are_one_trip(drive, server):
    together = (["GET", "a"], ["PTTL", "a"])
    server.replies = [[b"1", 2]]
    assert drive(asking(together), server) == [[b"1", 2]]
    assert server.trips == [together]


@pytest.mark.parametrize("reply", [None, 0, 0.5, False, b"", "", [], (), Lost("held")])
def test_any_reply_reaches_the_flow_as_it_is(drive, reply):
    assert drive(asking(["GET", "a"]), lambda trip: reply) == [reply]


def test_flows_within_a_flow_are_driven_too(drive, server):
    def outer():
        first = yield from asking(["GET", "a"])
        second = yield from asking(["GET", *first])
        return first + second

    server.replies = ["b", "c"]
    assert drive(outer(), server) == ["b", "c"]
    assert server.trips == [["GET", "a"], ["GET", "b"]]


@pytest.mark.parametrize("result", [None, 0, False, "done", Lost("returned")])
def test_the_result_is_what_the_flow_returns(drive, server, result):
    def flow():
        yield ["GET", "a"]
        return result

    server.replies = [b"1"]
    assert drive(flow(), server) is result


# Calls.


def test_a_call_is_made_on_the_surface_that_drives_the_flow(server):
    def flow(awaited):
        call = Call(lambda: "blocking", awaited)
        return (yield call), (yield ["GET", "a"])

    async def awaited():
        return "awaited"

    async def aexecute(trip):
        return server(trip)

    server.replies = [1, 1]
    assert run(flow(awaited), server) == ("blocking", 1)
    assert asyncio.run(arun(flow(awaited), aexecute)) == ("awaited", 1)
    assert server.trips == [["GET", "a"]] * 2


def test_an_error_of_a_call_is_caught_where_the_flow_yielded(drive, server):
    def fail():
        raise Lost

    async def afail():
        raise Lost

    def flow():
        try:
            yield Call(fail, afail)
        except Lost:
            return "caught"

    assert drive(flow(), server) == "caught"


# Errors.


def catching(error, *after):
    """Catch the error of the first trip, then make the others."""
    try:
        yield ["FIRST"]
    except error as caught:
        replies = yield from asking(*after)
        return [caught, *replies]


def test_an_error_is_caught_where_the_flow_yielded(drive, server):
    lost = Lost()
    server.replies = [lost]
    assert drive(catching(Lost), server) == [lost]


def test_a_flow_goes_on_after_an_error(drive, server):
    lost = Lost()
    server.replies = [lost, 1, 2]
    assert drive(catching(Lost, ["SECOND"], ["THIRD"]), server) == [lost, 1, 2]
    assert server.trips == [["FIRST"], ["SECOND"], ["THIRD"]]


def test_one_error_after_the_other_is_caught(drive, server):
    def stubborn():
        while True:
            try:
                return (yield ["GET", "a"])
            except Lost:
                continue

    server.replies = [Lost(), Lost(), Lost(), b"1"]
    assert drive(stubborn(), server) == b"1"
    assert server.trips == [["GET", "a"]] * 4


def test_an_error_that_is_not_caught_comes_out(drive, server):
    lost = Lost()
    server.replies = [lost]
    with pytest.raises(Lost) as raised:
        drive(catching(KeyError), server)
    assert raised.value is lost


def test_the_traceback_of_an_error_shows_where_the_flow_was(drive, server):
    server.replies = [Lost()]
    with pytest.raises(Lost) as raised:
        drive(catching(KeyError), server)
    frames = traceback.extract_tb(raised.value.__traceback__)
    assert "catching" in [frame.name for frame in frames]


def test_an_error_may_be_turned_into_another(drive, server):
    def translating():
        try:
            yield ["GET", "a"]
        except Lost as error:
            raise LookupError("not there") from error

    server.replies = [Lost("the cause")]
    with pytest.raises(LookupError, match="not there") as raised:
        drive(translating(), server)
    assert str(raised.value.__cause__) == "the cause"


def test_an_error_of_the_flows_own_comes_out(drive, server):
    def failing():
        yield ["GET", "a"]
        raise Lost("by itself")

    server.replies = [b"1"]
    with pytest.raises(Lost, match="by itself"):
        drive(failing(), server)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, asyncio.CancelledError])
def test_an_interrupt_is_not_for_the_flow_to_catch(drive, server, interrupt):
    server.replies = [interrupt()]
    with pytest.raises(interrupt):
        drive(catching(BaseException), server)
    assert server.trips == [["FIRST"]]


# Pauses.


def test_a_pause_lasts_and_is_no_trip(drive, server):
    server.replies = [b"1"]
    start = time.monotonic()
    assert drive(asking(0.02, ["GET", "a"], 0.03), server) == [None, b"1", None]
    assert time.monotonic() - start >= 0.04
    assert server.trips == [["GET", "a"]]


def test_a_pause_may_follow_an_error(drive, server):
    lost = Lost()
    server.replies = [lost, b"1"]
    assert drive(catching(Lost, 0.001, ["SECOND"]), server) == [lost, None, b"1"]
    assert server.trips == [["FIRST"], ["SECOND"]]


def test_an_awaiting_pause_lets_others_go_on():
    async def aexecute(trip):
        return trip

    async def together():
        await asyncio.gather(*(arun(asking(0.1), aexecute) for _ in range(50)))

    start = time.monotonic()
    asyncio.run(together())
    assert time.monotonic() - start < 2.5  # One after the other: 5 s.
