"""
The exceptions of the engine, for an application that wants to handle them.

    Exception
    ├── SessionStoreUnavailable    the server did not do what was asked
    │   ├── NotPermitted           ... because its user may not
    │   │   └── KeyNotPermitted    ... with that key
    │   └── ReplyLost              ... or did, but its answer never came
    │       └── ConnectionLost     ... because the connection broke
    └── SessionConflict            too many others changed the session meanwhile

Wrong settings are Django's ``ImproperlyConfigured``. ``CreateError`` and
``UpdateError`` are Django's own (``django.contrib.sessions.backends.base``).
No message holds a session key, a cookie or session data.
"""


class SessionStoreUnavailable(Exception):
    """
    Valkey can't be reached, or refuses the command. Nothing is known about the
    session: it is neither there nor gone, and its cookie stays valid.
    """


class NotPermitted(SessionStoreUnavailable):
    """The user that LOCATION names lacks a right."""


class KeyNotPermitted(NotPermitted):
    """The user may not use keys that begin as those of sessions do."""


class ReplyLost(SessionStoreUnavailable):
    """The command may have been carried out, but no reply came in time."""


class ConnectionLost(ReplyLost):
    """The connection broke before the reply came. The client reconnects by itself."""


class SessionConflict(Exception):
    """
    The session was changed by others each time it was about to be saved, or ended.
    Nothing of theirs was overwritten; the change of this request is not saved.
    """
