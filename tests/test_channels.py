"""
WebSockets that end with their session, without a network: tests/friends has them with
one. Each test with a blocking and with an awaiting consumer.
"""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.layers import get_channel_layer
from channels.sessions import SessionMiddlewareStack
from django.core.exceptions import ImproperlyConfigured

from django_valkey_sessions import sessions
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.channels import ENDED, EndsWithSession
from django_valkey_sessions.exceptions import SessionStoreUnavailable

pytestmark = [
    pytest.mark.usefixtures("engine", "layer"),
    # Blocking consumers close connections to the database that others have left open.
    pytest.mark.django_db,
]

IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
NEVER = 3600


class Echo(EndsWithSession, WebsocketConsumer):
    look_every = NEVER

    def receive(self, text_data):
        self.send(text_data)


class AEcho(EndsWithSession, AsyncWebsocketConsumer):
    look_every = NEVER

    async def receive(self, text_data):
        await self.send(text_data)


class Teller(Echo):
    def session_ended(self, message):
        self.send(message["reason"])


class ATeller(AEcho):
    async def session_ended(self, message):
        await self.send(message["reason"])


@pytest.fixture
def layer(settings):
    settings.CHANNEL_LAYERS = IN_MEMORY


@pytest.fixture(params=[(Echo, Teller), (AEcho, ATeller)], ids=["blocking", "awaiting"])
def consumers(request):
    """A consumer as it is, and one that is told."""
    return request.param


@pytest.fixture
def session():
    session = SessionStore()
    session["a"] = 1
    session.save()
    return session


class Socket(ApplicationCommunicator):
    def __init__(self, consumer, key, **attributes):
        kind = type(consumer.__name__, (consumer,), attributes)
        cookies = [] if key is None else [(b"cookie", f"sessionid={key}".encode())]
        scope = {"type": "websocket", "path": "/", "headers": cookies}
        super().__init__(SessionMiddlewareStack(kind.as_asgi()), scope)

    async def open(self):
        await self.send_input({"type": "websocket.connect"})
        assert (await self.receive_output(10))["type"] == "websocket.accept"
        return self

    async def says(self, text):
        await self.send_input({"type": "websocket.receive", "text": text})
        return await self.hears()

    async def hears(self):
        return (await self.receive_output(10)).get("text")

    async def is_closed(self):
        message = await self.receive_output(10)
        await self.leave()
        return message["type"], message["code"], message["reason"]

    async def leave(self):
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(10)


def closed(reason):
    return "websocket.close", ENDED, reason


async def revoke(session):
    await sessions.arevoke(sessions.id_of(session))


async def flush(session):
    # As the views of django.contrib.auth do it.
    await sync_to_async(session.flush)()


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (revoke, "revoked"),
        (flush, "logout"),
        (SessionStore.aflush, "logout"),
        (SessionStore.acycle_key, "moved"),
    ],
)
def test_a_websocket_is_closed_when_its_session_ends(consumers, session, end, reason):
    async def use():
        socket = await Socket(consumers[0], session.session_key).open()
        assert await socket.says("one") == "one"
        await end(session)
        assert await socket.is_closed() == closed(reason)
        assert get_channel_layer().groups == {}

    asyncio.run(use())


@pytest.mark.parametrize("layers", [IN_MEMORY, {}], ids=["layer", "no layer"])
def test_that_it_has_expired_is_seen_by_looking(
    consumers, session, engine, valkey, settings, layers
):
    settings.CHANNEL_LAYERS = layers
    stored = f"{engine}{sessions.id_of(session)}"

    async def use():
        key = session.session_key
        socket = await Socket(consumers[0], key, look_every=0.02).open()
        assert await socket.says("one") == "one"
        valkey.pexpire(stored, 200)  # Which several looks do not put off.
        assert await socket.is_closed() == closed("gone")

    asyncio.run(use())


def test_an_outage_is_no_end(consumers, session, monkeypatch):
    exists, asked = SessionStore.aexists, []

    async def aexists(self, key):
        asked.append(key)
        if len(asked) < 3:
            raise SessionStoreUnavailable
        return await exists(self, key)

    monkeypatch.setattr(SessionStore, "aexists", aexists)

    async def use():
        key = session.session_key
        socket = await Socket(consumers[0], key, look_every=0.01).open()
        while len(asked) < 5:
            assert await socket.says("there") == "there"
        await socket.leave()

    asyncio.run(use())


@pytest.mark.parametrize("key", [None, "0" * 32], ids=["no cookie", "a stray one"])
def test_a_websocket_without_a_session_stays_open(consumers, key):
    async def use():
        socket = await Socket(consumers[0], key, look_every=0.01).open()
        for _ in range(5):
            assert await socket.says("there") == "there"
            assert await socket.receive_nothing(0.02)
        await socket.leave()

    asyncio.run(use())


def test_a_consumer_that_is_told_may_go_on(consumers, session):
    async def use():
        socket = await Socket(consumers[1], session.session_key).open()
        await revoke(session)
        assert await socket.hears() == "revoked"
        assert await socket.says("still here") == "still here"
        await socket.leave()

    asyncio.run(use())


def test_it_is_told_who_has_no_session_of_ours(consumers, settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"

    async def use():
        with pytest.raises(ImproperlyConfigured, match="needs a session of the engine"):
            await Socket(consumers[0], None).wait(10)

    asyncio.run(use())
