"""The demo site with an API by Django REST framework, for who is logged in."""

from tests.friends.settings import *  # noqa: F403

ROOT_URLCONF = "tests.friends.drf_urls"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication"
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}
