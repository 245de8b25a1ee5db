"""
Django's classes, each with this engine in the place of Django's; those of the
middleware also with ours. All of their tests run; where one looks into the table of
Django's `db` engine, Table below lets it look into Valkey.
"""

import unittest
import unittest.mock
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.sessions.middleware import SessionMiddleware
from django.test import SimpleTestCase
from sessions_tests import tests as django_tests

from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.middleware import SessionMiddleware as OurMiddleware

pytestmark = pytest.mark.usefixtures("engine")


class EngineTests(django_tests.SessionTestsMixin, SimpleTestCase):
    backend = SessionStore


class Row:
    def __init__(self, session_key: str) -> None:
        self.session = SessionStore(session_key)

    def get_decoded(self) -> dict[str, Any]:
        return self.session.load()


class Table:
    """Stands for django.contrib.sessions.models.Session, as far as it is asked."""

    objects: Any = None

    @staticmethod
    def get(session_key: str) -> Row:
        return Row(session_key)


Table.objects = Table


class AwaitingMiddleware:
    """SessionMiddleware as an ASGI server calls it, for tests that block."""

    kind: Any = SessionMiddleware

    def __init__(self, get_response: Any) -> None:
        async def view(request: Any) -> Any:
            return await sync_to_async(get_response)(request)

        self.inner = self.kind(view)
        self.process_response = self.inner.process_response

    def __call__(self, request: Any) -> Any:
        assert self.inner.async_mode
        return async_to_sync(self.inner)(request)


class AwaitingMiddlewareOfOurs(AwaitingMiddleware):
    kind = OurMiddleware


class MiddlewareTests(django_tests.SessionMiddlewareTests):
    middleware: Any = SessionMiddleware

    def setUp(self) -> None:
        for name, ours in (
            ("DatabaseSession", SessionStore),
            ("Session", Table),
            ("SessionMiddleware", self.middleware),
        ):
            patch = unittest.mock.patch.object(django_tests, name, ours)
            patch.start()
            self.addCleanup(patch.stop)
        super().setUp()


class AwaitingMiddlewareTests(MiddlewareTests):
    middleware = AwaitingMiddleware


class OurMiddlewareTests(MiddlewareTests):
    middleware = OurMiddleware


class OurAwaitingMiddlewareTests(MiddlewareTests):
    middleware = AwaitingMiddlewareOfOurs


def test_all_of_djangos_tests_are_here() -> None:
    """Should Django's classes be renamed or emptied, this says so."""
    names = unittest.TestLoader().getTestCaseNames
    assert len(names(EngineTests)) >= 65
    assert len(names(MiddlewareTests)) >= 12
