"""The demo site's settings, and what a careful site has besides."""

import os
from datetime import datetime

from django.utils.csp import CSP
from testproject.settings import *  # noqa: F403

MIDDLEWARE = [
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    *MIDDLEWARE,  # noqa: F405
]
# Nothing of others, and neither scripts nor styles inside of pages.
SECURE_CSP = {
    "default-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:"],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}

# Visitors log in for each test. The first of them turns the password into this.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]

# On pictures it is always the same time.
if "SITE_TIME" in os.environ:
    import time_machine

    time_machine.travel(datetime.fromisoformat(os.environ["SITE_TIME"])).start()
