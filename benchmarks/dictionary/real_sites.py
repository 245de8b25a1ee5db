"""
Sessions that real packages make: a site with them is walked through, and what is in its
sessions then is measured. None of it was trained on.

    python real_sites.py                the table of the README
    python real_sites.py --write FILE   the sessions, a JSON object of lists

It needs django-allauth[socialaccount], django-formtools, django-two-factor-auth,
phonenumbers, django-hijack, social-auth-app-django and mozilla-django-oidc beside what
the package needs.
"""

import argparse
import json
import secrets
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import django  # noqa: E402
from django.conf import settings  # noqa: E402

COUNT = 30
APPS = """
    django.contrib.auth django.contrib.contenttypes django.contrib.messages
    django.contrib.sessions django.contrib.admin django_otp
    django_otp.plugins.otp_static django_otp.plugins.otp_totp two_factor allauth
    allauth.account allauth.socialaccount hijack hijack.contrib.admin social_django
    mozilla_django_oidc formtools
""".split()  # noqa: SIM905
CLIENTS = """
    SOCIAL_AUTH_GITHUB_KEY SOCIAL_AUTH_GITHUB_SECRET SOCIAL_AUTH_GOOGLE_OAUTH2_KEY
    SOCIAL_AUTH_GOOGLE_OAUTH2_SECRET OIDC_RP_CLIENT_ID OIDC_RP_CLIENT_SECRET
""".split()  # noqa: SIM905
OIDC = "https://login.example.com/"

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY=secrets.token_hex(),
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=APPS,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
    CSRF_USE_SESSIONS=False,
    EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend",
    AUTHENTICATION_BACKENDS=[
        "django.contrib.auth.backends.ModelBackend",
        "allauth.account.auth_backends.AuthenticationBackend",
        "social_core.backends.github.GithubOAuth2",
        "social_core.backends.google.GoogleOAuth2",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django_otp.middleware.OTPMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "allauth.account.middleware.AccountMiddleware",
        "hijack.middleware.HijackUserMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ],
                "loaders": [
                    (
                        "django.template.loaders.locmem.Loader",
                        {"wizard.html": "", "two_factor/_base.html": ""},
                    ),
                    "django.template.loaders.app_directories.Loader",
                ],
            },
        }
    ],
    **dict.fromkeys(CLIENTS, "x"),
    OIDC_OP_AUTHORIZATION_ENDPOINT=OIDC + "authorize",
    OIDC_OP_TOKEN_ENDPOINT=OIDC + "token",
    OIDC_OP_USER_ENDPOINT=OIDC + "userinfo",
    OIDC_USE_PKCE=True,
    ACCOUNT_RATE_LIMITS=False,
    ACCOUNT_EMAIL_VERIFICATION="optional",
    TWO_FACTOR_PATCH_ADMIN=False,
    USE_TZ=True,
)
settings.TEMPLATES[0].pop("APP_DIRS")
django.setup()

from django import forms  # noqa: E402
from django.contrib import admin, messages  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.signing import JSONSerializer  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import include, path  # noqa: E402
from formtools.wizard.views import SessionWizardView  # noqa: E402
from two_factor.urls import urlpatterns as two_factor  # noqa: E402

from django_valkey_sessions import codec  # noqa: E402


class Contact(forms.Form):
    name = forms.CharField()
    mail = forms.EmailField()


class Order(forms.Form):
    article = forms.CharField()
    amount = forms.IntegerField()
    delivery = forms.DateField()


class Last(forms.Form):
    agreed = forms.BooleanField()


class Wizard(SessionWizardView):
    form_list = (("contact", Contact), ("order", Order), ("last", Last))
    template_name = "wizard.html"


def note(request: Any) -> HttpResponse:
    messages.success(request, f"Profile of {request.user} was updated successfully.")
    messages.warning(request, "Please confirm your e-mail address.")
    return HttpResponse()


urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("social/", include("social_django.urls", namespace="social")),
    path("oidc/", include("mozilla_django_oidc.urls")),
    path("hijack/", include("hijack.urls")),
    path("wizard/", Wizard.as_view()),
    path("note/", note),
    path("", include(two_factor)),
]

# The walks: each is given a user with a password, and a browser.

Walk = Callable[[User, Client], None]
PASSWORD = secrets.token_hex()


def admin_login(user: User, browser: Client) -> None:
    data = {"username": user.username, "password": PASSWORD, "next": "/admin/"}
    assert browser.post("/admin/login/", data).status_code == 302


def admin_changes(user: User, browser: Client) -> None:
    """Two users are added, and the messages about it not yet shown."""
    admin_login(user, browser)
    for _ in range(2):
        data = {
            "username": secrets.token_urlsafe(6),
            "usable_password": "true",
            "password1": PASSWORD,
            "password2": PASSWORD,
        }
        assert browser.post("/admin/auth/user/add/", data).status_code == 302


def allauth_login(user: User, browser: Client) -> None:
    data = {"login": user.username, "password": PASSWORD}
    assert browser.post("/accounts/login/", data).status_code == 302


def allauth_signup(user: User, browser: Client) -> None:
    data = {
        "username": secrets.token_hex(5),
        "email": f"{secrets.token_hex(5)}@example.org",
        "password1": PASSWORD,
        "password2": PASSWORD,
    }
    assert browser.post("/accounts/signup/", data).status_code == 302


def hijacked(user: User, browser: Client) -> None:
    admin_login(user, browser)
    other = User.objects.create_user(secrets.token_hex(5))
    browser.get("/admin/")
    assert browser.post("/hijack/acquire/", {"user_pk": other.pk}).status_code == 302


def messages_waiting(user: User, browser: Client) -> None:
    browser.force_login(user)
    browser.get("/note/")


def form_wizard(user: User, browser: Client) -> None:
    browser.force_login(user)
    browser.get("/wizard/")
    first = {
        "wizard-current_step": "contact",
        "contact-name": user.username,
        "contact-mail": user.email,
    }
    browser.post("/wizard/", first)
    second = {
        "wizard-current_step": "order",
        "order-article": secrets.token_hex(4),
        "order-amount": secrets.randbelow(100),
        "order-delivery": "2027-03-0" + str(1 + secrets.randbelow(9)),
    }
    browser.post("/wizard/", second)


def two_factor_setup(user: User, browser: Client) -> None:
    browser.force_login(user)
    browser.get("/account/two_factor/setup/")
    browser.post("/account/two_factor/setup/", {"setup_view-current_step": "welcome"})


def social_begun(user: User, browser: Client) -> None:
    browser.post("/social/login/google-oauth2/", {"next": "/dashboard/"})


def social_begun_by_user(user: User, browser: Client) -> None:
    browser.force_login(user, "social_core.backends.github.GithubOAuth2")
    browser.post("/social/login/github/", {"next": "/settings/accounts/"})


def oidc_begun(user: User, browser: Client) -> None:
    browser.get("/oidc/authenticate/?next=/reports/")


WALKS: tuple[Walk, ...] = (
    *(admin_login, admin_changes, allauth_login, allauth_signup, hijacked),
    *(messages_waiting, form_wizard, two_factor_setup, social_begun),
    *(social_begun_by_user, oidc_begun),
)


def walked(walk: Walk) -> Iterator[bytes]:
    """Yield what stands in the sessions at the end of a walk, serialized."""
    for _ in range(COUNT):
        name = secrets.token_hex(4)
        mail = f"{name}@example.com"
        number = secrets.randbelow(10**6)
        while User.objects.filter(pk=number).exists():
            number += 1
        user = User.objects.create_superuser(name, mail, PASSWORD, pk=number)
        browser = Client(headers={"accept-language": "en"})
        walk(user, browser)
        assert browser.session.keys(), walk.__name__
        yield JSONSerializer().dumps(dict(browser.session.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().split("\n")[0])
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    found = {walk.__name__: list(walked(walk)) for walk in WALKS}
    if options.write:
        texts = {name: [one.decode() for one in each] for name, each in found.items()}
        options.write.write_text(json.dumps(texts))
    print("| what was done        | plain | stored |\n| --- | --: | --: |")
    for name, payloads in found.items():
        plain = statistics.median(map(len, payloads))
        stored = statistics.median(codec.body_sizes(payloads))
        print(f"| {name:<20} | {plain:5.0f} | {stored:5.0f} |")


if __name__ == "__main__":
    main()
