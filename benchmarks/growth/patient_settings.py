"""The least site that has sessions of users, where commands may take their time."""

import os

SECRET_KEY = "of-the-benchmark-and-of-nothing-else-0123456789-0123456789"  # noqa: S105
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django_valkey_sessions",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SESSION_ENGINE = "django_valkey_sessions.backend"
VALKEY_SESSIONS = {
    "LOCATION": os.environ.get("VALKEY_URL", "valkey://127.0.0.1:6379/0"),
    "CLUSTER": "VALKEY_CLUSTER" in os.environ,
    "OPTIONS": {"request_timeout": 10_000, "connection_timeout": 10_000},
}
