"""
Where the server may be, and finding it there.
"""

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from ..conf import Place, conf
from ..exceptions import SessionStoreUnavailable
from ..flow import Call, Flow
from . import times
from .sentinels import named


def found(connect: Callable[[Place], Any], last: Place) -> Flow[tuple[Place, Any]]:
    """
    Connect to the first of the places where the server may be; return that place and
    the client. Raise SessionStoreUnavailable if it is at none of them, or there was no
    time to look further. Where it was the last time is looked for last.
    """
    _check_names()
    # Enough for another place after one that hangs.
    deadline = time.monotonic() + 1.2 * times.timeouts()[1]
    places, failure = (yield from _places()), None
    for place in sorted(places, key=lambda place: place == last):
        if failure is not None and time.monotonic() > deadline:
            break
        connecting = partial(connect, place)
        try:
            return place, (yield Call(connecting, connecting))
        except SessionStoreUnavailable as error:
            failure = error
    raise cast(SessionStoreUnavailable, failure)


def _places() -> Flow[list[Place]]:
    """
    Return where the server may be: where sentinels say that it is; each node of a
    cluster by itself, because one that hangs would hold up the others; all addresses of
    a server and its replicas, among which GLIDE finds the primary.
    """
    location = conf.LOCATION
    if conf.CLIENT is not None or not (location.service or conf.CLUSTER):
        return [location.addresses]
    # In any order, so that the next attempt begins with another one.
    addresses = random.sample(location.addresses, len(location.addresses))
    if not location.service:
        return [(address,) for address in addresses]
    ask = partial(named, addresses)
    places: list[Place] = yield Call(ask, partial(asyncio.to_thread, ask))
    return places


def _check_names() -> None:
    # A misspelt name would be a setting silently without effect, where
    # "django_valkey_sessions" is not installed as an app and checks don't run.
    for bad in conf.unknown():
        raise bad
