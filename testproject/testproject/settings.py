"""
Settings of the demo site, which the test suite uses too.

The session engine needs what stands under "Sessions". Everything else is what
``django-admin startproject`` writes, made short.
"""

import os
from importlib.util import find_spec
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# Where the site and the demo's own Valkey server keep their files.
DATA_DIR = Path(os.environ.get("DEMO_DATA", BASE_DIR / "data"))

# Sessions

SESSION_ENGINE = "django_valkey_sessions.backend"

VALKEY_SESSIONS = {
    "LOCATION": os.environ.get("VALKEY_URL", "valkey://127.0.0.1:6379/0"),
    # Where users are logged in, for the page on which they see and end that.
    "RECORD_DEVICE": True,
    # A new key once an hour, for sessions that live on.
    "RENEW_AFTER": 3600,
}

# Django's default is False. The demo turns it on, to show that a change inside a
# nested value is saved and that an unchanged session costs nothing.
SESSION_SAVE_EVERY_REQUEST = os.environ.get("DEMO_SAVE_EVERY_REQUEST") == "1"

# Where Channels is installed, pages are told when their session ends. This layer
# reaches one process only.
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

# The site

DEBUG = os.environ.get("DEMO_DEBUG", "1") == "1"
# Sessions are sealed with it. It is fixed so that they outlive the demo.
SECRET_KEY = "django-insecure-of-the-demo-and-of-nothing-else-0123456789"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

ROOT_URLCONF = "testproject.urls"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "testproject" / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_valkey_sessions",
    "demo",
]

MIDDLEWARE = [
    "testproject.middleware.record_round_trips",
    "django_valkey_sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "db.sqlite3",
    }
}

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "testproject" / "static"]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "testproject" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# Packages that use sessions, where they are installed: at /api/ and /allauth/.

HAS_ALLAUTH = find_spec("allauth") is not None
HAS_REST_FRAMEWORK = find_spec("rest_framework") is not None

if HAS_REST_FRAMEWORK:
    INSTALLED_APPS += ["rest_framework"]

if HAS_ALLAUTH:
    INSTALLED_APPS += ["allauth", "allauth.account"]
    MIDDLEWARE += ["allauth.account.middleware.AccountMiddleware"]
    # Nobody's address is asked for, and no mail is sent.
    ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
    ACCOUNT_EMAIL_VERIFICATION = "none"
    # Attempts would be counted in a cache, and the demo has none.
    ACCOUNT_RATE_LIMITS = False

# A session that was ended has a plain page, also where DEBUG shows tracebacks.
DEFAULT_EXCEPTION_REPORTER = "testproject.errors.Reporter"
