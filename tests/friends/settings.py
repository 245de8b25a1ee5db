"""The demo site's settings, as the friends' sites begin with them."""

from testproject.settings import *  # noqa: F403

# What is tried here is not how long a busy machine takes.
VALKEY_SESSIONS["OPTIONS"] = {"request_timeout": 2000}  # noqa: F405

# Of the fast kind: the tests log in often.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
