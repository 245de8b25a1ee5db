"""The demo site with an API by Django REST framework, for who is logged in."""

from tests.friends.settings import *  # noqa: F403

INSTALLED_APPS += ["rest_framework"]  # noqa: F405
ROOT_URLCONF = "tests.friends.drf_urls"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication"
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}
