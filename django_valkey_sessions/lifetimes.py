"""How long a session is to live, and when it is to be touched."""

import time
from datetime import timedelta
from typing import Any

from .conf import LONGEST, conf

#: A SessionBase. What it has in memory is nothing that django-stubs tell of.
Session = Any

#: Where Django keeps what set_expiry() was given.
EXPIRY_KEY = "_session_expiry"


def milliseconds(session: Session, created: int | None = None) -> int:
    """
    Return how many milliseconds from now a session is to live that was created then,
    or, if that is left out, when it knows itself.
    """
    seconds, most = idle_seconds(session), conf.MAX_LIFETIME
    if most is not None:
        if created is None:
            created, _ = session._age()
        seconds = min(seconds, created + most - time.time())
    return int(max(-LONGEST, min(seconds, LONGEST)) * 1000)


def idle_seconds(session: Session) -> float:
    """Return the same in seconds, not capped by MAX_LIFETIME."""
    ttl = conf.TTL
    seconds: Any = None
    expiry = session._session_cache.get(EXPIRY_KEY)
    if callable(ttl):
        seconds = ttl(session)
    elif not expiry:
        seconds = ttl
    if seconds is None:
        # Without an expiry the time does not matter, and takes 1 µs to tell.
        known = {} if expiry else {"modification": None}
        seconds = session.get_expiry_age(expiry=expiry, **known)
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or seconds != seconds:
        raise TypeError(
            f"The lifetime of a session is {seconds!r}, which is neither a number "
            "of seconds nor a timedelta."
        )
    return float(seconds)


def is_fresh(lifetime: int, expires_at: float | None) -> bool:
    """
    Return True if the session was refreshed less than TOUCH_INTERVAL ago: with this
    lifetime, in milliseconds, when the server lets it expire then, as far as is known,
    in time.monotonic()'s seconds.
    """
    if expires_at is None:
        return False
    interval = conf.TOUCH_INTERVAL
    if interval is None:
        interval = min(60, 0.05 * lifetime / 1000)
    else:  # Also a session that lives shorter than that is touched in time.
        interval = min(interval, lifetime / 2000)
    left = expires_at - time.monotonic()
    # A lifetime that has become shorter has to reach the server, too.
    return abs(lifetime / 1000 - left) < interval
