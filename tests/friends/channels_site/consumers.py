"""The same consumer, awaiting and blocking: it sets and gets what it is told."""

from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    JsonWebsocketConsumer,
)

from django_valkey_sessions.channels import EndsWithSession

#: Too long for a test: what comes before it was told.
NEVER = 3600


class Desk(EndsWithSession, AsyncJsonWebsocketConsumer):
    async def receive_json(self, content):
        session = self.scope["session"]
        if "set" in content:
            await session.aupdate(content["set"])
            await session.asave()
        await self.send_json(dict(await session.aitems()))


class Awaiting(Desk):
    look_every = NEVER


class Looking(Desk):
    look_every = 0.1


class Blocking(EndsWithSession, JsonWebsocketConsumer):
    look_every = NEVER

    def receive_json(self, content):
        session = self.scope["session"]
        if "set" in content:
            session.update(content["set"])
            session.save()
        self.send_json({**session})
