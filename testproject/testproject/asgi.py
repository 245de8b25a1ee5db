"""``uvicorn testproject.asgi:application``"""

import os
from importlib.util import find_spec

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")

# A site in production leaves its static files to the web server.
application = ASGIStaticFilesHandler(get_asgi_application())

if find_spec("channels"):
    from .live import with_websockets

    application = with_websockets(application)
