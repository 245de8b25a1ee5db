"""The requests of visitors whose costs are counted."""

from dataclasses import dataclass

LOGIN, FILL = "/login/", "/fill/"


@dataclass(frozen=True, slots=True)
class Request:
    #: Where the visitor has been before.
    before: tuple[str, ...]
    path: str
    #: Whether the site has SESSION_SAVE_EVERY_REQUEST.
    renewing: bool = False


REQUESTS = {
    "anonymous": Request((), "/anonymous/"),
    "read": Request((LOGIN, FILL), "/read/"),
    "read and renew": Request((LOGIN, FILL), "/read/", renewing=True),
    "write": Request((LOGIN, FILL), "/write/"),
    "first write": Request((), "/write/"),
    "login with a session": Request((FILL,), LOGIN),
    "fresh login": Request((), LOGIN),
    "logout": Request((LOGIN, FILL), "/logout/"),
}
