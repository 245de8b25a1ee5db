"""
WebSockets that are told when their session ends, with Django Channels.

A process that has imported this module tells them at once what it ends, through the
channel layer. Of everything else, and of expiry, they learn by looking now and then.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any

from channels.consumer import AsyncConsumer
from channels.layers import get_channel_layer
from django.core.exceptions import ImproperlyConfigured
from django.dispatch import receiver

from . import sessions
from .backend import SessionStore
from .exceptions import SessionStoreUnavailable
from .index import USER_KEY
from .signals import session_created, session_ended

#: The code with which a WebSocket is closed because its session has ended. What begins
#: with 4 is left to applications, and the rest is HTTP's "not logged in".
ENDED = 4401

#: Seconds for which who has ended a session may be about to say why.
LAST_WORD = 0.5

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]


class EndsWithSession(AsyncConsumer):  # type: ignore[misc]  # Channels has no types.
    """
    Put it before a consumer's base, blocking or awaiting, within Channels'
    SessionMiddlewareStack or AuthMiddlewareStack: when the session ends, the WebSocket
    is closed with the code ENDED. One that has no session stays open.

    To look is no activity, and keeps no session alive. An outage ends none.
    """

    #: Seconds between two looks whether the session is there. Each is one EXISTS.
    look_every: float = 10

    async def __call__(
        self, scope: Message, receive: Receive, send: Callable[[Message], Any]
    ) -> None:
        session = scope.get("session")
        if not isinstance(session, SessionStore):
            raise ImproperlyConfigured(
                f"{type(self).__name__} needs a session of the engine "
                f"{SessionStore.__module__!r}, and so Channels' SessionMiddlewareStack "
                "or AuthMiddlewareStack around it."
            )
        # Loads it: only then is it seen that a cookie is a stray one.
        await session.aget(USER_KEY)
        if session.session_key is None:
            await super().__call__(scope, receive, send)
            return
        async with (
            _listening(sessions.id_of(session)) as hear,
            aclosing(_Inbox(receive, _end_of(session, hear, self.look_every))) as inbox,
        ):
            await super().__call__(scope, inbox.receive, send)

    def session_ended(self, message: Message) -> Any:
        """
        Close the WebSocket. Override this, in an awaiting consumer by an async method,
        to do something else or before.

        ``message["reason"]`` is that of signals.session_ended; or ``"moved"``: the
        session has a new key, as after a login, and the browser will have it when it
        connects again; or ``"gone"``: it was looked for, and is not there any more.
        """
        return self.close(code=ENDED, reason=message["reason"])


class _Inbox:
    """What a consumer receives; and, once, the end of its session."""

    def __init__(self, receive: Receive, end: Awaitable[str]) -> None:
        self._receive = receive
        self._end: asyncio.Future[str] = asyncio.ensure_future(end)
        self._next: asyncio.Future[Message] | None = None
        self._told = False

    async def receive(self) -> Message:
        # Kept until it is done: who stops waiting for a message may lose it.
        self._next = self._next or asyncio.ensure_future(self._receive())
        waiting: set[asyncio.Future[Any]] = {self._next}
        if not self._told:
            waiting.add(self._end)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if self._end in waiting and self._end.done():
            self._told = True
            return {"type": "session.ended", "reason": self._end.result()}
        message, self._next = self._next.result(), None
        return message

    async def aclose(self) -> None:
        left = [future for future in (self._next, self._end) if future is not None]
        for future in left:
            future.cancel()
        await asyncio.gather(*left, return_exceptions=True)


@asynccontextmanager
async def _listening(id: str | None) -> AsyncIterator[Receive]:
    """Give what to await for what is told of the session from now on."""
    layer = get_channel_layer()
    if layer is None:
        yield asyncio.get_running_loop().create_future  # Never done.
        return
    group, channel = _group(id), await layer.new_channel()
    await layer.group_add(group, channel)
    try:
        yield partial(layer.receive, channel)
    finally:
        await layer.group_discard(group, channel)


async def _end_of(session: SessionStore, hear: Receive, look_every: float) -> str:
    """Wait until the session has ended, and return why."""
    while await _is_there(session):
        if reason := await _told(hear, look_every):
            return reason
    return await _told(hear, LAST_WORD) or "gone"


async def _told(hear: Receive, seconds: float) -> str | None:
    """Return why the session has ended, if that is told within so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return str((await hear())["reason"])
    return None


async def _is_there(session: SessionStore) -> bool:
    try:
        return await session.aexists(session.session_key)
    except SessionStoreUnavailable:
        return True  # As far as anybody knows.


def _group(id: str | None) -> str:
    return f"valkey_sessions.{id}"


@receiver(session_ended)
async def _tell_of_end(*, id: str, reason: str, **facts: Any) -> None:
    await _tell(id, reason)


@receiver(session_created)
async def _tell_of_move(*, previous_id: str | None, **facts: Any) -> None:
    if previous_id is not None:
        await _tell(previous_id, "moved")


async def _tell(id: str, reason: str) -> None:
    layer = get_channel_layer()
    if layer is not None:
        message = {"type": "session.ended", "reason": reason}
        await layer.group_send(_group(id), message)
