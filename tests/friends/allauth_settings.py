"""The demo site with django-allauth, and its own list of a user's sessions."""

from tests.friends.settings import *  # noqa: F403

INSTALLED_APPS += [  # noqa: F405
    "allauth.usersessions",
    "django.contrib.humanize",  # For its page of sessions.
]
MIDDLEWARE += [  # noqa: F405
    "allauth.usersessions.middleware.UserSessionsMiddleware",
]
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
ROOT_URLCONF = "tests.friends.allauth_urls"
LOGIN_URL = "account_login"

ACCOUNT_REAUTHENTICATION_REQUIRED = True
USERSESSIONS_TRACK_ACTIVITY = True
ACCOUNT_SIGNUP_FIELDS = ["email", *ACCOUNT_SIGNUP_FIELDS]  # noqa: F405
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
