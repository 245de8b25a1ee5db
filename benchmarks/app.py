"""The site, as servers of applications want it."""

import os

from django.core.asgi import get_asgi_application as asgi
from django.core.wsgi import get_wsgi_application as wsgi

__all__ = ["asgi", "wsgi"]

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
