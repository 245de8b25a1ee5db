"""The sessions on the pictures, which are the same each time. Nobody has them."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command

from django_valkey_sessions import keys
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.conf import conf
from django_valkey_sessions.devices import KEY

from .. import servers

#: In the middle of a minute, so that a few seconds don't make it another.
NOW = datetime(2026, 11, 24, 9, 41, 30, tzinfo=UTC)

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36"
)
EDGE = f"{CHROME} Edg/142.0.0.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1"
)
ANDROID = "Mozilla/5.0 (Android 15; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0"

BASKET = {"items": ["A-1042", "B-0077"], "currency": "EUR"}


@dataclass(frozen=True)
class Shown:
    name: str
    created: timedelta  # How long ago.
    active: timedelta
    user: str = ""  # Nobody is logged in.
    agent: str = ""
    address: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()[:32]


def ago(days: int = 0, hours: int = 0, minutes: int = 0) -> timedelta:
    return timedelta(days, hours=hours, minutes=minutes)


ANNAS_OFFICE = Shown(
    *("office", ago(days=2, hours=1), ago(), "anna", FIREFOX, "203.0.113.0/24"),
    data={"basket": BASKET, "colour": "green", "visits": 12},
)
ANNAS_PHONE = Shown(
    *("phone", ago(days=5, hours=3), ago(minutes=52)),
    *("anna", IPHONE, "198.51.100.0/24"),
)
MAREK = Shown(
    *("work", ago(hours=3), ago(minutes=4), "marek", CHROME, "192.0.2.0/24"),
    data={"basket": BASKET, "returns": "/orders/"},
)
SESSIONS = (
    ANNAS_OFFICE,
    ANNAS_PHONE,
    Shown("home", ago(9), ago(1, hours=13), "anna", EDGE, "2001:db8:7::/48"),
    MAREK,
    Shown("train", ago(1), ago(hours=2), "sofia", ANDROID, "198.51.100.0/24"),
    Shown("shop", ago(3), ago(2), "james", CHROME, "192.0.2.0/24"),
    Shown("visit", ago(minutes=31), ago(minutes=9), data={"basket": BASKET}),
    Shown("look", ago(minutes=2), ago(minutes=2), data={"colour": "blue"}),
)


def fill(server: servers.Server) -> None:
    """Make the site's users, of whom anna may do everything, and their sessions."""
    call_command("migrate", verbosity=0)
    # With a salt of its own each password, and so each session, would be another.
    password = make_password("demo", salt="ofthepictures")
    for name in dict.fromkeys(shown.user for shown in SESSIONS if shown.user):
        rights = dict.fromkeys(("is_staff", "is_superuser"), name == "anna")
        User.objects.create(username=name, password=password, **rights)
    lifetime = timedelta(seconds=settings.SESSION_COOKIE_AGE)
    with server.connect() as connection:
        for shown in SESSIONS:
            with time_machine.travel(NOW - shown.created):
                _save(shown)
            key = keys.stored_key(conf.PREFIX, keys.session_id(shown.key))
            connection.pexpire(key, lifetime - shown.active)


def _save(shown: Shown) -> None:
    session = SessionStore()
    session.update(shown.data)
    if shown.user:
        session.update(_login(shown))
    session._session_key = shown.key
    session.save(must_create=True)


def _login(shown: Shown) -> dict[str, Any]:
    """Return what a session has in which this user is logged in."""
    user = User.objects.get(username=shown.user)
    return {
        "_auth_user_id": str(user.pk),
        "_auth_user_backend": settings.AUTHENTICATION_BACKENDS[0],
        "_auth_user_hash": user.get_session_auth_hash(),
        KEY: {
            "agent": shown.agent,
            "address": shown.address,
            "at": int((NOW - shown.created).timestamp()),
        },
    }
