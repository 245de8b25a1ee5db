"""Time-outs of many awaits with one timer: they come, and only to what is late."""

import asyncio

import pytest

from django_valkey_sessions.client.deadlines import Deadline, Deadlines


def in_a_loop(serve, seconds=0.02):
    async def main():
        return await serve(Deadlines(asyncio.get_running_loop(), seconds))

    return asyncio.run(main())


async def forever(deadlines):
    with Deadline(deadlines):
        await asyncio.Event().wait()


def test_what_takes_too_long_is_ended():
    async def serve(deadlines):
        with pytest.raises(TimeoutError):
            await forever(deadlines)
        assert asyncio.current_task().cancelling() == 0

    in_a_loop(serve)


def test_so_is_all_that_begins_later():
    async def serve(deadlines):
        early = [asyncio.create_task(forever(deadlines)) for _ in range(3)]
        await asyncio.sleep(deadlines.seconds / 2)
        late = [asyncio.create_task(forever(deadlines)) for _ in range(3)]
        outcomes = await asyncio.gather(*early, *late, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [TimeoutError] * 6
        # Also once the timer has found nothing to do.
        await forever(deadlines)

    with pytest.raises(TimeoutError):
        in_a_loop(serve)


def test_what_comes_in_time_is_left_alone():
    async def serve(deadlines):
        with Deadline(deadlines):
            await asyncio.sleep(0)
        with pytest.raises(KeyError), Deadline(deadlines):
            raise KeyError
        # The timer is that of the first, and finds this one not due.
        with Deadline(deadlines):
            await asyncio.sleep(deadlines.seconds * 0.7)
        return deadlines.running

    assert in_a_loop(serve, 0.2) == {}


def test_there_is_one_timer_for_all():
    async def serve(deadlines):
        for _ in range(3):
            with Deadline(deadlines):
                timer = deadlines.timer
                with Deadline(deadlines):
                    assert deadlines.timer is timer
        assert deadlines.timer is timer

    in_a_loop(serve, 10)


def test_a_task_that_is_cancelled_stays_so():
    async def serve(deadlines):
        task = asyncio.create_task(forever(deadlines))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_a_loop(serve, 10)


def test_a_task_that_is_cancelled_at_its_deadline_stays_so():
    async def serve(deadlines):
        task = asyncio.create_task(forever(deadlines))
        await asyncio.sleep(0)
        (deadline,) = deadlines.running
        deadline.end()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_a_loop(serve, 10)


def test_an_error_at_the_deadline_is_told():
    async def serve(deadlines):
        async def failing():
            with Deadline(deadlines):
                (deadline,) = deadlines.running
                deadline.end()
                try:
                    await asyncio.Event().wait()
                finally:
                    raise KeyError

        with pytest.raises(KeyError):
            await failing()
        await asyncio.sleep(0)  # Nothing of the cancellation is left.

    in_a_loop(serve, 10)
