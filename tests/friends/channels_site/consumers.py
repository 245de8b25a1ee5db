"""The same consumer twice, blocking and awaiting: it gets and sets what it is told."""

from typing import Any

from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    JsonWebsocketConsumer,
)

from django_valkey_sessions.channels import EndsWithSession

#: Too long for a test: what comes before it was told.
NEVER = 3600


class Blocking(EndsWithSession, JsonWebsocketConsumer):
    look_every = NEVER

    def receive_json(self, content: dict[str, Any]) -> None:
        session = self.scope["session"]
        if "set" in content:
            session.update(content["set"])
            session.save()
        self.send_json({**session})


class Awaiting(EndsWithSession, AsyncJsonWebsocketConsumer):
    look_every = NEVER

    async def receive_json(self, content: dict[str, Any]) -> None:
        session = self.scope["session"]
        if "set" in content:
            await session.aupdate(content["set"])
            await session.asave()
        await self.send_json(dict(await session.aitems()))


class Looking(Awaiting):
    look_every = 0.1
