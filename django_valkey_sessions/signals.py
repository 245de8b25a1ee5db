"""
What an audit log wants to know. Receivers get the id of the session, which is no
credential, and never its key:

``session_created``
    A session was stored for the first time, or under a new key (a login does that).
    ``id``; ``user_id``, None if nobody is logged in; ``previous_id``, None but after a
    new key.
``session_ended``
    ``id``; ``user_id``, None if nobody was logged in or that is not known; ``reason``:
    ``"logout"`` (``flush()`` or ``delete()``), ``"revoked"`` (by what ends sessions of
    others), ``"limit"`` (MAX_SESSIONS_PER_USER) or ``"expired"``. That a session has
    expired is found out only where its key in Valkey has not: with EXPIRE off, or
    MAX_LIFETIME shortened. Until it is removed this may be found more than once.
``session_unreadable``
    A stored value was taken for no session. ``id``; ``reason``, a text for people.

The sender is the engine's SessionStore. What a receiver raises is logged by Django and
does not reach the session. Receivers may be async.
"""

import asyncio
from functools import partial
from threading import Thread
from typing import Any

from django.dispatch import Signal

from .flow import Call, Flow

session_created = Signal()
session_ended = Signal()
session_unreadable = Signal()


def announce(signal: Signal, sender: Any, **facts: Any) -> Flow[None]:
    """Send a signal on the surface that drives the flow."""
    if signal.has_listeners(sender):
        yield Call(
            lambda: _send(signal, sender, facts),
            lambda: signal.asend_robust(sender, **facts),
        )


def _send(signal: Signal, sender: Any, facts: dict[str, Any]) -> None:
    send = partial(signal.send_robust, sender, **facts)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        send()
        return
    # Used blocking in an event loop, where Django can't wait for async receivers.
    thread = Thread(target=send)
    thread.start()
    thread.join()
