"""
Time-outs for awaits, many at a time. No GLIDE.
"""

import asyncio
from types import TracebackType

#: Seconds by which a timer may come early, as that of a loop does.
EARLY = 0.01


class Deadlines:
    """
    Awaits that may take so many seconds each. What asyncio.timeout() is for one, with a
    timer for all: those that begin first end first.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.loop, self.seconds = loop, seconds
        # In the order in which they end. While there are any, there is a timer.
        self.running: dict[Deadline, None] = {}
        self.timer: asyncio.TimerHandle | None = None

    def end_overdue_in(self, seconds: float) -> None:
        self.timer = self.loop.call_later(seconds, self._end_overdue)

    def _end_overdue(self) -> None:
        self.timer = None
        now = self.loop.time()
        for deadline in list(self.running):
            if deadline.until > now + EARLY:
                self.end_overdue_in(deadline.until - now)
                return
            self.running.pop(deadline)
            deadline.end()


class Deadline:
    """
    ``with Deadline(deadlines):`` in a task raises TimeoutError at what is awaited in it
    when its time is over.
    """

    __slots__ = ("all", "cancelled", "over", "task", "until")

    def __init__(self, all: Deadlines) -> None:
        self.all = all
        self.over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self.task, self.cancelled = task, task.cancelling()
        self.until = self.all.loop.time() + self.all.seconds
        self.all.running[self] = None
        if self.all.timer is None:
            self.all.end_overdue_in(self.all.seconds)

    def end(self) -> None:
        self.over = True
        self.task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.all.running.pop(self, None)
        if not self.over:
            return
        # Who has cancelled the task beside this still wants that.
        alone = self.task.uncancel() <= self.cancelled
        if alone and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error
