"""
Settings of the site that is measured: only what sessions need. The engine's own come
from outside, in BENCH_SETTINGS.
"""

import json
import os
from typing import Any

SECRET_KEY = "of-the-benchmark-and-of-nothing-else-0123456789-0123456789"  # noqa: S105
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "benchmarks.site"
USE_TZ = True
LOGGING_CONFIG = None

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

_given: dict[str, Any] = json.loads(os.environ.get("BENCH_SETTINGS", "{}"))
MIDDLEWARE = [
    _given.pop("SESSION_MIDDLEWARE", None)
    or "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
globals().update(_given)
