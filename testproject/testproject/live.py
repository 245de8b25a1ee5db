"""
The WebSocket of each page, which ends with the session: then the page says so. Needs
Channels, and an ASGI server.
"""

from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from channels.sessions import SessionMiddlewareStack
from django.urls import path

from django_valkey_sessions.channels import EndsWithSession


class Page(EndsWithSession, AsyncWebsocketConsumer):  # type: ignore[misc]
    """Says nothing, and hears nothing: it is there to be closed."""

    # What `manage.py valkey_sessions revoke` ends is to be seen soon, too.
    look_every = 2


def with_websockets(http: Any) -> Any:
    """Return an application that serves these beside the site's pages."""

    async def live(scope: dict[str, Any], receive: Any, send: Any) -> None:
        # Their script is for pages that are served so: see base.html.
        await http({**scope, "live": True}, receive, send)

    websockets = URLRouter([path("live/", Page.as_asgi())])
    return ProtocolTypeRouter(
        {
            "http": live,
            # A page of another site must not get a WebSocket with the cookies of this.
            "websocket": AllowedHostsOriginValidator(
                SessionMiddlewareStack(websockets)
            ),
        }
    )
