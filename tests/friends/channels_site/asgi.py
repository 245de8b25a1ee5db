from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

http = get_asgi_application()

from .consumers import Awaiting, Blocking, Looking  # noqa: E402

websockets = [
    path("awaiting/", Awaiting.as_asgi()),
    path("blocking/", Blocking.as_asgi()),
    path("looking/", Looking.as_asgi()),
]
application = ProtocolTypeRouter(
    {"http": http, "websocket": AuthMiddlewareStack(URLRouter(websockets))}
)
