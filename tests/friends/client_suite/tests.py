"""A project's own tests, as Django's runner runs them."""

import uuid

from django.conf import settings
from django.contrib.auth.models import User
from django.test import TestCase, override_settings

from django_valkey_sessions import sessions
from django_valkey_sessions.backend import SessionStore


class OwnSessions:
    """Sessions that no other class of tests sees, in this process or another."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        prefix = f"session:test:{uuid.uuid4().hex}:"
        own = {**settings.VALKEY_SESSIONS, "PREFIX": prefix}
        cls.enterClassContext(override_settings(VALKEY_SESSIONS=own))
        cls.addClassCleanup(SessionStore.clear_all)


class CartTests(OwnSessions, TestCase):
    def test_the_cart_stays_at_login(self):
        session = self.client.session
        session["cart"] = ["a book"]
        session.save()
        self.client.force_login(User.objects.create(username="ada"))
        seen = self.client.get("/data/").json()
        assert seen["user"] == "ada"
        assert seen["session"]["cart"] == ["a book"]

    async def test_the_cart_stays_at_login_async(self):
        session = await self.async_client.asession()
        await session.aset("cart", ["a book"])
        await session.asave()
        user = await User.objects.acreate(username="ada")
        await self.async_client.aforce_login(user)
        seen = (await self.async_client.get("/data/")).json()
        assert seen["user"] == "ada"
        assert seen["session"]["cart"] == ["a book"]


class LoginTests(OwnSessions, TestCase):
    def setUp(self):
        self.user = User.objects.create_user("ada", password="secret")

    def test_login_and_logout(self):
        assert not self.client.login(username="ada", password="wrong")
        assert self.client.login(username="ada", password="secret")
        key = self.client.session.session_key
        self.client.logout()
        assert not SessionStore().exists(key)
        assert self.client.get("/data/").json()["user"] is None

    async def test_login_and_logout_async(self):
        client = self.async_client
        assert not await client.alogin(username="ada", password="wrong")
        assert await client.alogin(username="ada", password="secret")
        key = (await client.asession()).session_key
        await client.alogout()
        assert not await SessionStore().aexists(key)
        assert (await client.get("/data/")).json()["user"] is None

    def test_a_setting_that_is_overridden_is_obeyed(self):
        own = {**settings.VALKEY_SESSIONS, "MAX_SESSIONS_PER_USER": 1}
        self.client.force_login(self.user)
        with self.settings(VALKEY_SESSIONS=own):
            self.client_class().force_login(self.user)
        assert self.client.get("/data/").json()["user"] is None


class Alone(OwnSessions):
    """
    In each process the first user of the test's database has the same id, and so the
    same name in the index of sessions.
    """

    def test_no_other_process_disturbs(self):
        user = User.objects.create(pk=1, username="ada")
        for number in range(1, 51):
            self.client_class().force_login(user)
            assert len(sessions.for_user(user)) == number


class OneTests(Alone, TestCase):
    pass


class OtherTests(Alone, TestCase):
    pass
