"""
How long GLIDE is waited for.
"""

from ..conf import conf

REQUEST_TIMEOUT = 500  # Milliseconds, as all of GLIDE's.
CONNECTION_TIMEOUT = 500
#: (retries, milliseconds, base, jitter in percent): a refused connection is given up
#: after about 0.3 s, and a lost one is sought again at most every 0.2 s.
RECONNECT = (2, 50, 2, 20)
#: Seconds for everything around GLIDE's own time-outs before an await is given up.
SLACK = 0.5


def timeouts() -> tuple[float, float]:
    """Return GLIDE's time-outs for a request and for a connection, in seconds."""
    options = conf.OPTIONS
    advanced = options.get("advanced_config")
    connecting = options.get("connection_timeout") or CONNECTION_TIMEOUT
    if advanced is not None:
        connecting = getattr(advanced, "connection_timeout", None) or 2000  # GLIDE's.
    requesting = options.get("request_timeout") or REQUEST_TIMEOUT
    return requesting / 1000, connecting / 1000


def await_budget() -> float:
    """Return after how many seconds nothing can be expected of GLIDE any more."""
    requesting, connecting = timeouts()
    return requesting + (RECONNECT[0] + 1) * connecting + SLACK
