"""The demo site's settings, with the engine's from the environment."""

import json
import os

from testproject.settings import *  # noqa: F403

VALKEY_SESSIONS = json.loads(os.environ["VALKEY_SESSIONS"])
MIDDLEWARE = [*os.environ["FIRST_MIDDLEWARE"].split(), *MIDDLEWARE]  # noqa: F405

# Visitors log in for each test. The first of them turns the password into this.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
