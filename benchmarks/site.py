"""The pages of the site that is measured. Each is the least that shows its cost."""

from typing import Any

from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User, update_last_login
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest, HttpResponse
from django.urls import path

from .data import VALUES

# The user costs nothing: no row is read or written for it.
USER = User(pk=4711, username="ada", password="pbkdf2_sha256$1$salt$hash")  # noqa: S106
BACKEND = "django.contrib.auth.backends.ModelBackend"
user_logged_in.disconnect(update_last_login, dispatch_uid="update_last_login")
ModelBackend.get_user = lambda self, user_id: USER  # type: ignore[assignment, method-assign, return-value]


def anonymous(request: HttpRequest) -> HttpResponse:
    """Take no look at the session."""
    return _page("ok")


async def aanonymous(request: HttpRequest) -> HttpResponse:
    return _page("ok")


def read(request: HttpRequest) -> HttpResponse:
    return _page(_shown(request.session.get("theme")))


async def aread(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    return _page(_shown(await session.aget("theme")))


def write(request: HttpRequest) -> HttpResponse:
    session = request.session
    session["visits"] = session.get("visits", 0) + 1
    return _page("ok")


async def awrite(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    await session.aset("visits", await session.aget("visits", 0) + 1)
    return _page("ok")


def fill(request: HttpRequest) -> HttpResponse:
    request.session.update(VALUES)
    return _page("ok")


def login(request: HttpRequest) -> HttpResponse:
    auth.login(request, USER, BACKEND)
    return _page("ok")


def logout(request: HttpRequest) -> HttpResponse:
    auth.logout(request)
    return _page("ok")


def _page(text: str) -> HttpResponse:
    # Else a server would not keep the connection, or send it in chunks.
    return HttpResponse(text, headers={"Content-Length": str(len(text))})


def _shown(theme: Any) -> str:
    """Return what a page shows; a session that was not read would make it fail."""
    assert theme == VALUES["theme"]
    return "ok"


urlpatterns = [
    path(f"{view.__name__}/", view)
    for view in (anonymous, aanonymous, read, aread, write, awrite, fill, login, logout)
]
