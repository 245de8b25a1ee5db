"""The demo site with an API by Django REST framework, for who is logged in."""

from testproject.settings import *  # noqa: F403

INSTALLED_APPS += ["rest_framework"]  # noqa: F405
ROOT_URLCONF = "tests.friends.drf_urls"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication"
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}

# Of the fast kind: the tests log in often.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
