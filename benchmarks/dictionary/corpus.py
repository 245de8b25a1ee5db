"""
What ordinary Django sites keep in sessions, grouped by kind of site.

The key names are those of Django and of well-known packages; the values are made up.
Whatever is random in a real session (hashes, tokens, identifiers, names, times) is
drawn anew for every sample, so that no trainer takes it for something to remember.
"""

# Words of ten languages, and lists of words, which read better as text.
# ruff: noqa: RUF001, SIM905

import hashlib
import json
import string
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

Session = dict[str, Any]
Kind = Callable[[Random], Session]

KINDS: dict[str, Kind] = {}


def kind(function: Kind) -> Kind:
    """Register a function that makes one session of its kind of site."""
    KINDS[function.__name__] = function
    return function


def serialize(session: Session) -> bytes:
    """Serialize as django.core.signing.JSONSerializer does."""
    return json.dumps(session, separators=(",", ":")).encode("latin-1")


def samples(kind_name: str, count: int, seed: int = 1) -> list[bytes]:
    """Return serialized sessions of one kind, the same ones for the same seed."""
    rng = Random(f"{seed}:{kind_name}")
    return [serialize(KINDS[kind_name](rng)) for _ in range(count)]


# Random material


def maybe(rng: Random, chance: float) -> bool:
    return rng.random() < chance


def some(
    rng: Random, options: Sequence[Any], least: int = 1, most: int = 4
) -> list[Any]:
    return rng.sample(options, min(len(options), rng.randint(least, most)))


def subset(rng: Random, data: Session, chance: float = 0.6) -> Session:
    """Keep some of the items, and at least one."""
    kept = {key: value for key, value in data.items() if maybe(rng, chance)}
    return kept or dict([rng.choice(list(data.items()))])


def sha256(rng: Random) -> str:
    return hashlib.sha256(rng.randbytes(16)).hexdigest()


def token(
    rng: Random, length: int, alphabet: str = string.ascii_letters + string.digits
) -> str:
    return "".join(rng.choices(alphabet, k=length))


def urlsafe(rng: Random, length: int) -> str:
    return token(rng, length, string.ascii_letters + string.digits + "-_")


def base32(rng: Random, length: int) -> str:
    return token(rng, length, string.ascii_uppercase + "234567")


def uuid4(rng: Random) -> str:
    return str(uuid.UUID(bytes=rng.randbytes(16), version=4))


def ulid(rng: Random) -> str:
    return "01" + token(rng, 24, "0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def number(rng: Random) -> int:
    """Return an identifier: any number of digits is as likely as any other."""
    return int(10 ** rng.uniform(0, 7))


def primary_key(rng: Random) -> str:
    """Return a user's primary key as Django writes it: always a string."""
    shape = rng.choices((number, uuid4, ulid), (75, 20, 5))[0]
    return str(shape(rng))


def moment(rng: Random) -> datetime:
    # Ten years, so that the dictionary is not in love with the year it was made in.
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(
        seconds=rng.randrange(315360000)
    )


def unix(rng: Random) -> int:
    return int(moment(rng).timestamp())


def clock(rng: Random) -> float:
    """Return what time.time() would."""
    return unix(rng) + round(rng.random(), 7)


def iso(rng: Random) -> str:
    """Return a moment in one of the forms that sites write."""
    when = moment(rng)
    return rng.choice(
        (
            when.isoformat(),
            when.replace(microsecond=rng.randrange(1000000)).isoformat(),
            when.replace(microsecond=rng.randrange(1000000), tzinfo=None).isoformat(),
            when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            when.strftime("%Y-%m-%d %H:%M:%S"),
        )
    )


def date(rng: Random) -> str:
    return moment(rng).date().isoformat()


def money(rng: Random) -> str:
    return f"{10 ** rng.uniform(0, 3.5):.2f}"


def name(rng: Random) -> str:
    """Return a made-up name; real ones would only teach the dictionary those."""
    syllables = (
        rng.choice("bdfghjklmnprstvwz") + rng.choice("aeiou")
        for _ in range(rng.randint(2, 3))
    )
    return "".join(syllables) + rng.choice(("", "l", "n", "r", "s", "k"))


def person(rng: Random) -> str:
    return f"{name(rng)} {name(rng)}".title()


MAIL_HOSTS = """
    gmail.com outlook.com hotmail.com yahoo.com icloud.com example.com example.org
    gmx.de web.de orange.fr mail.ru qq.com proton.me
""".split()


def email(rng: Random) -> str:
    host = rng.choice(MAIL_HOSTS) if maybe(rng, 0.6) else f"{name(rng)}.com"
    return name(rng) + rng.choice((".", "_", "")) + name(rng) + "@" + host


def phone(rng: Random) -> str:
    return f"+{rng.choice((1, 33, 34, 44, 48, 49, 55, 90, 91))}" + token(
        rng, 9, "0123456789"
    )


def address(rng: Random) -> str:
    if maybe(rng, 0.15):
        return ":".join(f"{rng.randrange(65536):x}" for _ in range(8))
    return ".".join(str(rng.randrange(1, 255)) for _ in range(4))


def slug(rng: Random, words: Sequence[str]) -> str:
    return "-".join([*some(rng, words, 1, 2), name(rng)])


PATHS = """
    / /dashboard/ /accounts/profile/ /profile/ /account/settings/ /admin/ /checkout/
    /orders/ /projects/ /search/ /home/
""".split()


def path(rng: Random) -> str:
    tail = rng.choice(
        ("", "", f"{number(rng)}/", f"{name(rng)}/", f"?page={number(rng)}")
    )
    return rng.choice(PATHS) + tail


LANGUAGES = """
    en de fr es pt-br pl tr ru ar zh-hans ja it nl en-us en-gb uk cs sv ko
""".split()
COUNTRIES = "US GB DE FR ES BR PL TR IN JP CN NL CA".split()
CURRENCIES = "EUR USD GBP PLN BRL JPY CHF TRY INR SEK".split()


# What a session of any kind may hold beside its own data

BACKENDS = {
    "django.contrib.auth.backends.ModelBackend": 50,
    "allauth.account.auth_backends.AuthenticationBackend": 14,
    "axes.backends.AxesStandaloneBackend": 2,
    "axes.backends.AxesBackend": 1,
    "guardian.backends.ObjectPermissionBackend": 2,
    "django_auth_ldap.backend.LDAPBackend": 4,
    "mozilla_django_oidc.auth.OIDCAuthenticationBackend": 4,
    "social_core.backends.google.GoogleOAuth2": 4,
    "social_core.backends.github.GithubOAuth2": 2,
    "social_core.backends.facebook.FacebookOAuth2": 1,
    "social_core.backends.azuread_tenant.AzureADTenantOAuth2": 2,
    "social_core.backends.open_id_connect.OpenIdConnectAuth": 2,
    "social_core.backends.keycloak.KeycloakOAuth2": 1,
    "social_core.backends.saml.SAMLAuth": 1,
    "django.contrib.auth.backends.RemoteUserBackend": 1,
    "django.contrib.auth.backends.AllowAllUsersModelBackend": 1,
    "accounts.backends.EmailBackend": 4,
    "users.backends.EmailOrUsernameModelBackend": 2,
    "core.auth.backends.EmailAuthBackend": 2,
}


def logged_in(rng: Random, backend: str = "") -> Session:
    """Return the three keys that django.contrib.auth.login() writes."""
    drawn = rng.choices(list(BACKENDS), list(BACKENDS.values()))[0]
    if not backend and maybe(rng, 0.05):
        drawn = f"{name(rng)}.backends.{name(rng).title()}Backend"
    return {
        "_auth_user_id": primary_key(rng),
        "_auth_user_backend": backend or drawn,
        "_auth_user_hash": sha256(rng),
    }


# From five minutes to a year; 0 ends with the browser.
HOURS = (0.5, 1, 2, 8, 12, 24, 168, 336, 720, 1440, 8760)
LIFETIMES = (0, 300, 600, 900, *(int(hours * 3600) for hours in HOURS))


def expiry(rng: Random) -> Session:
    """Return the forms in which set_expiry() leaves its argument."""
    seconds = rng.choice(LIFETIMES)
    when = moment(rng).replace(microsecond=rng.randrange(1000000)).isoformat()
    return {"_session_expiry": rng.choices((seconds, when), (85, 15))[0]}


def csrf(rng: Random) -> Session:
    return {"_csrftoken": token(rng, 32)}


def visitor(rng: Random, data: Session, chance: float = 0.7) -> Session:
    """Return data as the session of a visitor who is logged in or not."""
    parts = [data]
    if maybe(rng, chance):
        # Data from before the login survives it and so comes first.
        parts.insert(rng.choices((0, 1), (70, 30))[0], logged_in(rng))
    if maybe(rng, 0.15):
        parts.append(expiry(rng))
    if maybe(rng, 0.15):
        parts.insert(rng.choice((0, len(parts))), csrf(rng))
    return {key: value for part in parts for key, value in part.items()}


# The kinds: Django itself


@kind
def plain_login(rng: Random) -> Session:
    return logged_in(rng)


@kind
def login_with_expiry(rng: Random) -> Session:
    extra = {
        "last_activity": rng.choice((iso, clock, unix))(rng),
        "last_touch": clock(rng),
        "login_time": iso(rng),
        "remember_me": maybe(rng, 0.5),
        "init_time": unix(rng),
        "_session_init_timestamp_": clock(rng),
        "session_start": iso(rng),
    }
    chosen = subset(rng, extra, 0.25) if maybe(rng, 0.6) else {}
    return logged_in(rng) | expiry(rng) | chosen


@kind
def anonymous(rng: Random) -> Session:
    extra = {
        "testcookie": "worked",
        "visited": True,
        "num_visits": rng.randint(1, 60),
        "visit_count": rng.randint(1, 60),
        "cookie_consent": maybe(rng, 0.7),
        "cookies_accepted": True,
        "next": path(rng),
        "is_mobile": maybe(rng, 0.5),
        "first_visit": iso(rng),
        "last_visit": iso(rng),
    }
    return csrf(rng) | (subset(rng, extra, 0.3) if maybe(rng, 0.8) else {})


MESSAGE_LEVELS = (20, 25, 25, 25, 30, 40)
MESSAGE_TEXTS = (
    "Your changes have been saved.",
    "You are now signed in.",
    "Welcome back, {}!",
    "Your profile has been updated successfully.",
    "Please check the form for errors.",
    "{} was added to your cart.",
    "{} has been deleted.",
    "Successfully created {}.",
    "Your password has been changed.",
    "You do not have permission to view this page.",
    "We sent an email to {}. Please click the link in it.",
    "Something went wrong.",
    "Please log in to continue.",
    "Your message has been sent. Thank you!",
    "The item could not be found.",
    "Your order has been placed successfully.",
    "Invalid email address or password.",
    '{} <a href="/items/{}/">View</a>',
    "Änderungen wurden gespeichert.",
    "Sie sind jetzt angemeldet.",
    "Vos modifications ont été enregistrées.",
    "Bienvenue, {} !",
    "Los cambios se han guardado correctamente.",
    "Alterações salvas com sucesso.",
    "Zmiany zostały zapisane.",
    "Değişiklikler kaydedildi.",
    "Изменения сохранены.",
    "保存成功。",
    "変更を保存しました。",
)


def message(rng: Random) -> list[Any]:
    text = rng.choice(MESSAGE_TEXTS).replace("{}", name(rng).title())
    parts = ["__json_message", int("<" in text), rng.choice(MESSAGE_LEVELS), text]
    return (
        [*parts, rng.choice(("", "", "safe", "alert-success"))]
        if maybe(rng, 0.5)
        else parts
    )


@kind
def messages(rng: Random) -> Session:
    # Django's encoder leaves blanks after commas; the session escapes the quotes.
    queued = [message(rng) for _ in range(rng.choices((1, 2, 3), (75, 20, 5))[0])]
    return visitor(rng, {"_messages": json.dumps(queued)})


@kind
def admin(rng: Random) -> Session:
    model = f"{name(rng)}.{name(rng)}"
    filters = subset(
        rng,
        {
            "q": name(rng),
            "o": f"-{rng.randint(1, 6)}",
            "p": str(rng.randint(1, 40)),
            "is_active__exact": "1",
            "is_staff__exact": "0",
            "created_at__gte": date(rng),
            "created_at__lt": date(rng),
            "status__exact": name(rng),
            "id__in": "1,2,3",
        },
        0.35,
    )
    query = "&".join(f"{key}={value}" for key, value in filters.items())
    extra = {
        "_password_reset_token": f"c{token(rng, 5).lower()}-{sha256(rng)[:32]}",
        "_changelist_filters": query,
        "admin_filters": {model: filters},
        f"{model}_filters": query,
        "admin_last_object": {
            "app_label": name(rng),
            "model_name": name(rng),
            "object_id": str(number(rng)),
        },
        "import_export": {
            "file_format": "0",
            "resource": "",
            "original_file_name": f"{name(rng)}.csv",
        },
        "selected_ids": [number(rng) for _ in range(rng.randint(1, 12))],
        "list_per_page": rng.choice((25, 50, 100, 200)),
        "show_all": True,
    }
    return logged_in(rng) | subset(rng, extra, 0.3)


TIME_ZONES = """
    Europe/Berlin Europe/London Europe/Paris Europe/Madrid Europe/Warsaw
    Europe/Istanbul Europe/Moscow America/New_York America/Chicago
    America/Los_Angeles America/Sao_Paulo Asia/Tokyo Asia/Shanghai Asia/Kolkata
    Asia/Dubai Australia/Sydney Africa/Cairo UTC
""".split()


@kind
def preferences(rng: Random) -> Session:
    zone, language = rng.choice(TIME_ZONES), rng.choice(LANGUAGES)
    theme = rng.choice(("dark", "light", "auto", "system"))
    extra = {
        "_language": language,
        "django_language": language,
        "language": language,
        "lang": language,
        "locale": language.replace("-", "_"),
        "django_timezone": zone,
        "timezone": zone,
        "detected_tz": zone,
        "tz": zone,
        "theme": theme,
        "dark_mode": theme == "dark",
        "color_scheme": theme,
        "sidebar_collapsed": maybe(rng, 0.5),
        "currency": rng.choice(CURRENCIES),
        "country": rng.choice(COUNTRIES),
        "font_size": rng.choice(("small", "large")),
        "date_format": rng.choice(("d/m/Y", "Y-m-d", "m/d/Y")),
        "view": "list",
        "preferences": {"theme": theme, "language": language, "timezone": zone},
        "user_settings": {"notifications": maybe(rng, 0.5), "page_size": 50},
    }
    return visitor(rng, subset(rng, extra, 0.17))


# Forms and surveys

WIZARD_FIELDS: dict[str, Callable[[Random], str]] = {
    "first_name": lambda rng: name(rng).title(),
    "last_name": lambda rng: name(rng).title(),
    "email": email,
    "phone": phone,
    "date_of_birth": date,
    "company": name,
    "street": lambda rng: f"{name(rng).title()} {number(rng)}",
    "city": name,
    "postal_code": lambda rng: token(rng, 5, string.digits),
    "comment": person,
    "country": lambda rng: rng.choice(COUNTRIES),
    "title": person,
    "description": person,
    "accept_terms": lambda rng: "on",
    "newsletter": lambda rng: "on",
    "amount": money,
    "start_date": date,
    "end_date": date,
    "category": lambda rng: str(number(rng)),
    "name": person,
    "gender": lambda rng: rng.choice("mfx"),
    "username": name,
}
STEPS = """
    contact address details payment confirm personal account company upload summary
    preferences start
""".split()


def wizard_step(rng: Random, prefix: str, step: str) -> dict[str, list[str]]:
    fields = {
        f"{step}-{field}": [WIZARD_FIELDS[field](rng)]
        for field in some(rng, list(WIZARD_FIELDS), 1, 5)
    }
    first = {"csrfmiddlewaretoken": [token(rng, 64)]} if maybe(rng, 0.8) else {}
    return first | {f"{prefix}-current_step": [step]} | fields


def wizard_file(rng: Random, step: str) -> Session:
    suffix, content_type = rng.choice(
        (("pdf", "application/pdf"), ("jpg", "image/jpeg"), ("png", "image/png"))
    )
    file_name = f"{name(rng)}.{suffix}"
    return {
        f"{step}-file": {
            "tmp_name": file_name
            if maybe(rng, 0.5)
            else f"{name(rng)}_{token(rng, 7)}.{suffix}",
            "name": file_name,
            "content_type": content_type,
            "size": number(rng),
            "charset": None,
        }
    }


@kind
def form_wizard(rng: Random) -> Session:
    prefix = f"{name(rng)}_{rng.choice(('wizard', 'wizard_view', 'view', 'form'))}"
    steps = list("0123") if maybe(rng, 0.4) else rng.sample(STEPS, 4)
    done = steps[: rng.choices((0, 1, 2, 3), (30, 40, 20, 10))[0]]
    data: Session = {
        "step": steps[len(done)],
        "step_data": {step: wizard_step(rng, prefix, step) for step in done},
        "step_files": {step: {} for step in done},
        "extra_data": {},
    }
    if done and maybe(rng, 0.15):
        data["step_files"][done[-1]] = wizard_file(rng, done[-1])
    return visitor(rng, {f"wizard_{prefix}": data})


@kind
def survey(rng: Random) -> Session:
    answers = {
        str(number(rng)): rng.choice(
            (rng.randint(1, 5), "yes", "no", [1, 3], person(rng))
        )
        for _ in range(rng.randint(1, 12))
    }
    numbers = rng.sample(range(1, 400), rng.randint(3, 15))
    extra = {
        "survey_id": rng.choice((number(rng), uuid4(rng))),
        "quiz_id": number(rng),
        "current_question": rng.randint(0, 20),
        "question_index": rng.randint(0, 20),
        "answers": answers,
        "user_answers": answers,
        "responses": answers,
        "survey": {"id": number(rng), "started_at": iso(rng), "completed": False},
        "quiz_questions": numbers,
        "answered_questions": numbers,
        "score": rng.randint(0, 30),
        "correct_answers": rng.randint(0, 20),
        "total_questions": len(numbers),
        "start_time": iso(rng),
        "time_left": rng.randint(10, 1800),
        "quiz_finished": False,
        "respondent": uuid4(rng),
        "page": rng.randint(1, 8),
    }
    return visitor(rng, subset(rng, extra, 0.25), 0.5)


@kind
def learning(rng: Random) -> Session:
    lessons = sorted(rng.sample(range(1, 900), rng.randint(1, 15)))
    extra = {
        "course_id": number(rng),
        "lesson_id": number(rng),
        "module": rng.randint(1, 12),
        "completed_lessons": lessons,
        "progress": rng.randint(0, 100),
        "enrolled": True,
        "current_course": slug(rng, ("python", "intro", "math", "history", "music")),
        "last_lesson": {
            "course": number(rng),
            "unit": rng.randint(1, 20),
            "position": rng.randint(0, 3600),
        },
        "attempt": {
            "id": number(rng),
            "started": iso(rng),
            "attempts": rng.randint(1, 3),
        },
        "student_id": number(rng),
        "classroom": name(rng),
        "semester": rng.randint(1, 8),
        "flashcards": {
            "deck": number(rng),
            "order": lessons,
            "index": 3,
            "known": lessons[:4],
        },
        "video_position": {str(number(rng)): round(rng.uniform(1, 4000), 2)},
        "streak": rng.randint(0, 90),
        "points": number(rng),
        "level": rng.randint(1, 30),
    }
    return visitor(rng, subset(rng, extra, 0.25), 0.9)


# Shops

PRODUCTS = """
    shirt lamp coffee mug sofa boots cable novel soap bike jacket poster table
    phone-case backpack
""".split()
COLOURS = "black white red blue green grey".split()
SIZES = "XS S M L XL 38 42".split()


def sku(rng: Random) -> str:
    return f"{token(rng, 3, string.ascii_uppercase)}-{number(rng)}"


def priced(rng: Random) -> Session:
    return {"quantity": rng.randint(1, 9), "price": money(rng)}


def short_line(rng: Random) -> Session:
    return {"qty": rng.randint(1, 9), "price": money(rng)}


def named_line(rng: Random) -> Session:
    return {
        "product_id": number(rng),
        "name": f"{rng.choice(PRODUCTS)} {name(rng)}".title(),
        "quantity": rng.randint(1, 9),
        "price": money(rng),
        "image": f"/media/products/{name(rng)}.jpg",
    }


def sku_line(rng: Random) -> Session:
    line = {"sku": sku(rng), "quantity": rng.randint(1, 9), "unit_price": money(rng)}
    options = {"color": rng.choice(COLOURS), "size": rng.choice(SIZES)}
    return (
        line
        | {"currency": rng.choice(CURRENCIES)}
        | ({"options": options} if maybe(rng, 0.5) else {})
    )


def variant_line(rng: Random) -> Session:
    return {
        "variant_id": number(rng),
        "product_id": number(rng),
        "title": slug(rng, PRODUCTS),
        "discount": "0.00",
        "subtotal": money(rng),
        "tax_rate": rng.choice(("0.19", "0.20", "0.23")),
    }


def several(rng: Random, make: Callable[[Random], Any]) -> list[Any]:
    return [
        make(rng) for _ in range(rng.choices(range(1, 7), (40, 25, 15, 10, 5, 5))[0])
    ]


def cart_contents(rng: Random) -> Any:
    """Return one of the shapes in which sites keep a basket."""
    line = rng.choice((priced, short_line, named_line, sku_line, variant_line))
    lines = several(rng, line)
    shape = rng.randrange(5)
    if shape == 0:
        return {"items": lines, "total": money(rng), "currency": rng.choice(CURRENCIES)}
    if shape == 1:
        return lines
    if shape == 2:
        return {str(number(rng)): rng.randint(1, 9) for _ in lines}
    return {str(number(rng)): one for one in lines}


@kind
def cart(rng: Random) -> Session:
    key = rng.choices(
        ("cart", "basket", "session_key", "bag", "cart_items", "shopping_cart"),
        (10, 3, 2, 2, 2, 1),
    )[0]
    extra = {
        "coupon_id": rng.choice((None, number(rng))),
        "coupon": token(rng, 8),
        "cart_id": rng.choice((uuid4(rng), number(rng))),
        "wishlist": [number(rng)],
        "cart_count": rng.randint(1, 9),
        "total": money(rng),
        "currency": "EUR",
        "guest_email": email(rng),
        "shipping_method": "standard",
    }
    contents = {key: cart_contents(rng)}
    return visitor(
        rng, contents | (subset(rng, extra, 0.2) if maybe(rng, 0.4) else {}), 0.4
    )


def shipping_address(rng: Random) -> Session:
    return {
        "first_name": name(rng).title(),
        "last_name": name(rng).title(),
        "line1": f"{name(rng).title()} {rng.randint(1, 200)}",
        "line2": "",
        "line3": "",
        "line4": name(rng).title(),
        "state": "",
        "postcode": token(rng, 5, string.digits),
        "phone_number": phone(rng),
        "notes": "",
        "country_id": rng.choice(COUNTRIES),
    }


@kind
def checkout(rng: Random) -> Session:
    address = (
        {"user_address_id": number(rng)}
        if maybe(rng, 0.5)
        else {"new_address_fields": shipping_address(rng)}
    )
    method = rng.choice(("free-shipping", "standard", "express", "__free__", "pickup"))
    data: Session = {"guest": {"email": email(rng)}} if maybe(rng, 0.3) else {}
    data |= {"shipping": address | {"method_code": method}}
    if maybe(rng, 0.6):
        data |= {"billing": {"billing_address_same_as_shipping": True}}
    if maybe(rng, 0.4):
        data |= {
            "payment": {"method": rng.choice(("card", "paypal", "invoice"))},
            "submission": {
                "order_number": str(100000 + number(rng)),
                "basket_id": number(rng),
            },
        }
    done = {"checkout_order_id": number(rng)} if maybe(rng, 0.2) else {}
    return visitor(rng, {"checkout_data": data} | done, 0.6)


@kind
def payment(rng: Random) -> Session:
    extra = {
        "payment_intent_id": f"pi_{token(rng, 24)}",
        "order_id": primary_key(rng),
        "checkout_session_id": f"cs_live_{token(rng, 58)}",
        "stripe_customer": f"cus_{token(rng, 14)}",
        "client_secret": f"pi_{token(rng, 24)}_secret_{token(rng, 25)}",
        "paypal_order_id": token(rng, 17, string.ascii_uppercase + string.digits),
        "payment_method": rng.choice(("card", "paypal", "sepa_debit")),
        "amount": money(rng),
        "payment": {"status": "pending", "amount": number(rng), "currency": "usd"},
        "plan": rng.choice(("free", "pro", "team", "basic", "premium")),
        "interval": "month",
        "subscription_id": f"sub_{token(rng, 24)}",
        "invoice_number": f"INV-{number(rng)}",
        "donation": {
            "amount": money(rng),
            "recurring": maybe(rng, 0.5),
            "anonymous": False,
        },
        "order_number": f"{number(rng):08}",
        "trial_ends_at": iso(rng),
    }
    return visitor(rng, subset(rng, extra, 0.17), 0.75)


# Signing in


def allauth_state(rng: Random) -> Session:
    state: Session = {
        "process": rng.choice(("login", "login", "connect", "redirect")),
        "data": None,
    }
    state |= {"scope": "", "headless": False} if maybe(rng, 0.1) else {}
    state |= {"pkce_code_verifier": urlsafe(rng, 43)} if maybe(rng, 0.4) else {}
    state |= {"next": path(rng)} if maybe(rng, 0.7) else {}
    provider = rng.choice(
        ("google", "github", "facebook", "microsoft", "apple", "linkedin")
    )
    return {"socialaccount_states": {token(rng, 16): [state, clock(rng), provider]}}


def social_auth_state(rng: Random) -> Session:
    backend = rng.choice(
        (
            "google-oauth2",
            "github",
            "facebook",
            "azuread-tenant-oauth2",
            "oidc",
            "keycloak",
            "gitlab",
            "twitter-oauth2",
        )
    )
    state, when = token(rng, 32), unix(rng)
    after = {"next": path(rng)} if maybe(rng, 0.7) else {}
    if maybe(rng, 0.5):
        return {f"{backend}_state": state} | after
    transaction = {"state": state, "timestamp": when}
    transaction |= {"code_verifier": token(rng, 48)} if maybe(rng, 0.3) else {}
    return after | {
        f"{backend}_oauth2_state_{state}": transaction,
        f"{backend}_oauth2_transaction_index": {state: when},
    }


def oidc_state(rng: Random) -> Session:
    pending = {
        "code_verifier": token(rng, 64) if maybe(rng, 0.4) else None,
        "nonce": token(rng, 32),
        "added_on": clock(rng),
    }
    return {
        "oidc_states": {token(rng, 32): pending},
        "oidc_login_next": rng.choice((None, path(rng))),
    }


@kind
def oauth_pending(rng: Random) -> Session:
    state = rng.choice((allauth_state, social_auth_state, oidc_state))(rng)
    return visitor(rng, state, 0.15)


def jwt(rng: Random) -> str:
    return f"eyJ{urlsafe(rng, 60)}.eyJ{urlsafe(rng, 300)}.{urlsafe(rng, 342)}"


def social_login(rng: Random) -> Session:
    backend, provider = rng.choice(
        (
            ("google.GoogleOAuth2", "google-oauth2"),
            ("github.GithubOAuth2", "github"),
            ("azuread_tenant.AzureADTenantOAuth2", "azuread-tenant-oauth2"),
            ("open_id_connect.OpenIdConnectAuth", "oidc"),
        )
    )
    return logged_in(rng, f"social_core.backends.{backend}") | {
        "social_auth_last_login_backend": provider
    }


def oidc_login(rng: Random) -> Session:
    user = logged_in(rng, "mozilla_django_oidc.auth.OIDCAuthenticationBackend")
    tokens = {"oidc_access_token": urlsafe(rng, 40), "oidc_id_token": jwt(rng)}
    kept = subset(rng, tokens, 0.5) if maybe(rng, 0.2) else {}
    return (
        {"oidc_states": {}, "oidc_login_next": path(rng)}
        | kept
        | user
        | {"oidc_id_token_expiration": clock(rng)}
    )


@kind
def oauth_login(rng: Random) -> Session:
    return rng.choice((social_login, oidc_login))(rng)


def method_record(rng: Random, user_email: str) -> Session:
    return rng.choice(
        (
            {"method": "password", "at": clock(rng), "email": user_email},
            {"method": "password", "at": clock(rng), "username": name(rng)},
            {
                "method": "socialaccount",
                "at": clock(rng),
                "provider": "google",
                "uid": token(rng, 21, string.digits),
            },
            {"method": "mfa", "at": clock(rng), "id": number(rng), "type": "totp"},
            {"method": "password", "at": clock(rng), "reauthenticated": True},
        )
    )


def pending_login(rng: Random) -> Session:
    return {
        "account_login": {
            "user_pk": primary_key(rng),
            "email_verification": "mandatory",
            "signup": maybe(rng, 0.5),
            "redirect_url": rng.choice((None, path(rng))),
            "email": email(rng),
            "phone": None,
            "signal_kwargs": None,
            "state": {"stages": {"current": "mfa_authenticate"}},
            "initiated_at": clock(rng),
        }
    }


def code_process(rng: Random) -> Session:
    key = rng.choice(
        (
            "account_email_verification_code",
            "account_phone_verification",
            "account_password_reset_verification",
        )
    )
    return {
        key: {
            "user_id": primary_key(rng),
            "email": email(rng),
            "at": clock(rng),
            "code": base32(rng, 6),
            "failed_attempts": 0,
        }
    }


@kind
def allauth_account(rng: Random) -> Session:
    if maybe(rng, 0.25):
        return rng.choice((pending_login, code_process))(rng)
    user = logged_in(rng, "allauth.account.auth_backends.AuthenticationBackend")
    records = [method_record(rng, email(rng)) for _ in range(rng.choice((1, 1, 2)))]
    data: Session = {"account_authentication_methods": records}
    if maybe(rng, 0.5):
        data["account_authentication_methods_user"] = user["_auth_user_id"]
    if maybe(rng, 0.3):
        data = {"account_verified_email": rng.choice((None, email(rng)))} | data
    before: Session = {"socialaccount_states": {}} if maybe(rng, 0.3) else {}
    return before | (data | user if maybe(rng, 0.7) else user | data)


DEVICES = """
    otp_totp.totpdevice otp_static.staticdevice otp_email.emaildevice
    two_factor.phonedevice two_factor_webauthn.webauthndevice
""".split()


def two_factor_login(rng: Random) -> Session:
    """Return the login wizard of django-two-factor-auth between its two steps."""
    return {
        "wizard_login_view": {
            "step": "token",
            "step_data": {},
            "step_files": {},
            "extra_data": {},
            "validated_step_data": {"auth": {}},
            "user_pk": primary_key(rng),
            "user_backend": "django.contrib.auth.backends.ModelBackend",
            "authentication_time": unix(rng),
        }
    }


def second_factor_state(rng: Random) -> Session:
    return rng.choice(
        (
            {"mfa.totp.secret": base32(rng, 32)},
            {
                "mfa.webauthn.state": {
                    "challenge": urlsafe(rng, 43),
                    "user_verification": "preferred",
                }
            },
            {"django_two_factor-qr_secret_key": base32(rng, 32)},
            {"webauthn_request_challenge": urlsafe(rng, 86)},
            {"otp_verified": True, "otp_at": clock(rng)},
            {
                "mfa": {
                    "verified": True,
                    "method": "TOTP",
                    "id": number(rng),
                    "next_check": unix(rng),
                }
            },
            {"otp_code": token(rng, 6, string.digits), "otp_email": email(rng)},
        )
    )


@kind
def second_factor(rng: Random) -> Session:
    if maybe(rng, 0.2):
        return two_factor_login(rng)
    device = {"otp_device_id": f"{rng.choice(DEVICES)}/{number(rng)}"}
    return logged_in(rng) | (device if maybe(rng, 0.7) else second_factor_state(rng))


@kind
def impersonation(rng: Random) -> Session:
    start = {"_impersonate_start": clock(rng)}
    back = (
        {"_impersonate_prev_path": f"https://{name(rng)}.com/admin/"}
        if maybe(rng, 0.5)
        else {}
    )
    return logged_in(rng) | rng.choice(
        (
            {"hijack_history": [primary_key(rng)]},
            {"_impersonate": rng.choice((number(rng), uuid4(rng)))} | start | back,
            {"LOGINAS_USER": f"{number(rng)}:{token(rng, 6)}:{urlsafe(rng, 43)}"},
            {"impersonate_id": number(rng), "impersonator_id": number(rng)},
            {"original_user_id": primary_key(rng), "is_impersonating": True},
        )
    )


# What visitors did


@kind
def history(rng: Random) -> Session:
    ids = [number(rng) for _ in range(rng.randint(1, 15))]
    seen = [
        {
            "id": one,
            "title": person(rng),
            "url": f"/{name(rng)}/{one}/",
            "viewed_at": iso(rng),
        }
        for one in ids[:4]
    ]
    queries = [f"{name(rng)} {name(rng)}" for _ in range(rng.randint(1, 5))]
    extra = {
        "recently_viewed": ids,
        "viewed_products": ids,
        "recent_items": seen,
        "search_history": queries,
        "recent_searches": queries,
        "last_search": queries[0],
        "search_params": {
            "q": queries[0],
            "page": "1",
            "sort": "-created",
            "category": "",
        },
        "viewed_articles": [str(one) for one in ids],
        "favorites": ids,
        "compare": ids[:3],
        "last_query": {"query": queries[0], "results": number(rng), "time": iso(rng)},
        "visited_pages": [path(rng) for _ in ids[:5]],
        "previous_page": path(rng),
    }
    return visitor(rng, subset(rng, extra, 0.15), 0.5)


SOURCES = "google facebook newsletter twitter instagram bing linkedin".split()
MEDIA = "cpc email social organic referral display affiliate".split()


@kind
def marketing(rng: Random) -> Session:
    utm = subset(
        rng,
        {
            "utm_source": rng.choice(SOURCES),
            "utm_medium": rng.choice(MEDIA),
            "utm_campaign": slug(
                rng, ("summer", "sale", "launch", "brand", "black-friday")
            ),
            "utm_term": name(rng),
            "utm_content": f"banner_{number(rng)}",
        },
        0.75,
    )
    referrer = f"https://www.{rng.choice((*SOURCES, name(rng)))}.com/"
    extra = {
        "referrer": referrer,
        "referer": referrer,
        "http_referer": referrer,
        "landing_page": path(rng),
        "gclid": urlsafe(rng, 55),
        "fbclid": urlsafe(rng, 61),
        "referral_code": token(rng, 8),
        "affiliate_id": number(rng),
        "visitor_id": uuid4(rng),
        "source": rng.choice(SOURCES),
        "first_visit_at": iso(rng),
        "ref": name(rng),
    }
    form = rng.choice(
        (utm, {"utm": utm}, {"utm_params": [utm | {"timestamp": iso(rng)}]}, {})
    )
    return visitor(
        rng,
        form | (subset(rng, extra, 0.2) if maybe(rng, 0.7) or not form else {}),
        0.3,
    )


@kind
def experiments(rng: Random) -> Session:
    names = [
        f"{name(rng)}_{rng.choice(('test', 'button', 'page', 'price', 'flow'))}"
        for _ in range(rng.randint(1, 6))
    ]
    arms = ("control", "variant", "A", "B", "test", "treatment")
    assigned = {one: rng.choice(arms) for one in names}
    extra = {
        "experiments": assigned,
        "ab_tests": assigned,
        "ab_test_group": rng.choice(arms),
        "variant": rng.choice(arms),
        "feature_flags": {one: maybe(rng, 0.5) for one in names},
        "flags": {one: maybe(rng, 0.5) for one in names},
        "bucket": rng.randrange(100),
        "goals": [],
        "experiment_id": number(rng),
        "distinct_id": uuid4(rng),
        "exposures": {
            one: {"variant": rng.choice(arms), "at": iso(rng)} for one in names[:3]
        },
        "onboarding_done": maybe(rng, 0.5),
        "banner_dismissed": True,
        "tour_step": 2,
    }
    return visitor(rng, subset(rng, extra, 0.2), 0.6)


@kind
def location(rng: Random) -> Session:
    lat, lng = round(rng.uniform(-60, 70), 6), round(rng.uniform(-180, 180), 6)
    country, zone = rng.choice(COUNTRIES), rng.choice(TIME_ZONES)
    place = {
        "country_code": country,
        "city": name(rng).title(),
        "region": name(rng).title(),
    }
    extra = {
        "geo": place | {"latitude": lat, "longitude": lng, "time_zone": zone},
        "location": {"lat": lat, "lng": lng},
        "latitude": lat,
        "longitude": lng,
        "user_location": [lng, lat],
        "country_code": country,
        "region": name(rng),
        "city": name(rng).title(),
        "city_id": number(rng),
        "postcode": token(rng, 5, string.digits),
        "map": {"center": [lat, lng], "zoom": rng.randint(3, 18), "layers": ["roads"]},
        "radius": rng.choice((5, 10, 25, 50)),
        "store_id": number(rng),
        "nearest_store": {
            "id": number(rng),
            "name": name(rng).title(),
            "distance": 3.4,
        },
        "ip_country": country,
        "geoip": {"ip": address(rng)} | place,
    }
    return visitor(rng, subset(rng, extra, 0.2), 0.4)


@kind
def booking(rng: Random) -> Session:
    flight = {
        "from": token(rng, 3, string.ascii_uppercase),
        "class": "economy",
        "to": token(rng, 3, string.ascii_uppercase),
        "departure": date(rng),
    }
    stay = {
        "check_in": date(rng),
        "check_out": date(rng),
        "adults": rng.randint(1, 4),
        "children": rng.randint(0, 3),
        "rooms": rng.randint(1, 2),
    }
    extra = {
        "checkin": date(rng),
        "checkout": date(rng),
        "guests": rng.randint(1, 8),
        "booking": stay | {"room_id": number(rng), "total_price": money(rng)},
        "booking_data": stay,
        "reservation_id": number(rng),
        "hotel_id": number(rng),
        "flight_search": flight,
        "passengers": [{"type": "adult", "name": person(rng)}],
        "selected_seats": [
            f"{rng.randint(1, 40)}{rng.choice('ABCDEF')}" for _ in range(3)
        ],
        "hold_expires": iso(rng),
        "event_id": number(rng),
        "tickets": {str(number(rng)): 2},
        "appointment": {
            "date": date(rng),
            "time": f"{rng.randint(8, 18):02}:30",
            "doctor": number(rng),
            "duration": 30,
        },
        "arrival_date": date(rng),
        "departure_date": date(rng),
        "nights": rng.randint(1, 20),
    }
    return visitor(rng, subset(rng, extra, 0.2), 0.4)


# Business software


@kind
def organisations(rng: Random) -> Session:
    organisation = {"id": uuid4(rng), "slug": name(rng), "name": person(rng)}
    role = rng.choice(
        ("owner", "admin", "member", "viewer", "manager", "staff", "editor")
    )
    extra = {
        "organization_id": primary_key(rng),
        "organization": name(rng),
        "org_id": number(rng),
        "active_org_id": number(rng),
        "current_organization": organisation,
        "tenant_id": primary_key(rng),
        "tenant": name(rng),
        "workspace_id": primary_key(rng),
        "current_workspace": name(rng),
        "company_id": number(rng),
        "account_id": number(rng),
        "team_id": number(rng),
        "active_team": {"id": number(rng), "role": role},
        "role": role,
        "permissions": [
            f"{name(rng)}.{verb}_{name(rng)}" for verb in ("view", "change", "add")
        ],
        "current_project": number(rng),
        "department": name(rng),
        "branch_id": number(rng),
        "site_id": rng.randint(1, 9),
        "is_owner": maybe(rng, 0.3),
        "schema_name": name(rng),
    }
    return visitor(rng, subset(rng, extra, 0.12), 1)


@kind
def tables(rng: Random) -> Session:
    columns = [name(rng) for _ in range(rng.randint(2, 7))]
    state = {
        "page": rng.randint(1, 30),
        "page_size": rng.choice((10, 25, 50, 100)),
        "sort": rng.choice(columns),
        "direction": rng.choice(("asc", "desc")),
    }
    report = {
        "report_type": name(rng),
        "date_from": date(rng),
        "date_to": date(rng),
        "format": rng.choice(("csv", "xlsx", "pdf")),
    }
    extra = {
        f"{name(rng)}_filters": {one: name(rng) for one in columns[:3]},
        "filters": {},
        f"{name(rng)}_table": state | {"columns": columns},
        "order_by": f"-{columns[0]}",
        "per_page": 50,
        "list_view": state,
        "report_params": report,
        "export": report,
        "selected_rows": [number(rng) for _ in columns],
        "active_tab": rng.choice(columns),
        "dashboard": {
            "widgets": columns,
            "period": rng.choice(("7d", "30d", "this_month")),
        },
        "collapsed": dict.fromkeys(columns[:3], True),
        "back_url": path(rng),
        "task_id": uuid4(rng),
        "upload_id": uuid4(rng),
        "import_job": {
            "id": number(rng),
            "status": "processing",
            "total": number(rng),
            "errors": [],
        },
    }
    return visitor(rng, subset(rng, extra, 0.17), 1)


@kind
def api_clients(rng: Random) -> Session:
    extra = {
        "access_token": rng.choice((jwt, lambda rng: urlsafe(rng, 40)))(rng),
        "refresh_token": urlsafe(rng, 43),
        "token_type": "Bearer",
        "expires_in": 3600,
        "expires_at": rng.choice((unix(rng), iso(rng))),
        "auth_token": sha256(rng)[:40],
        "api_key": urlsafe(rng, 32),
        "scopes": ["read", "write", "profile"],
        "scope": "openid",
        "client_id": urlsafe(rng, 32),
        "rate_limit": {"remaining": number(rng), "reset": unix(rng)},
        "throttle": [clock(rng) for _ in range(3)],
        "last_sync": iso(rng),
        "token": {
            "access_token": urlsafe(rng, 40),
            "expires_in": 3599,
            "scope": "email",
        },
        "user_info": {
            "sub": uuid4(rng),
            "email": email(rng),
            "email_verified": True,
            "name": person(rng),
            "preferred_username": name(rng),
        },
        "request_id": uuid4(rng),
        "device_id": uuid4(rng),
        "api_version": "v2",
    }
    return visitor(rng, subset(rng, extra, 0.15), 0.85)


WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
WINDOWS, LINUX = "Windows NT 10.0; Win64; x64", "X11; Linux x86_64"
MAC, IPHONE = (
    "Macintosh; Intel Mac OS X 10_15_7",
    "iPhone; CPU iPhone OS 18_{1} like Mac OS X",
)
BROWSERS = (
    f"({WINDOWS}) {WEBKIT} Chrome/{{0}}.0.0.0 Safari/537.36",
    f"({MAC}) {WEBKIT} Chrome/{{0}}.0.0.0 Safari/537.36",
    f"({WINDOWS}) {WEBKIT} Chrome/{{0}}.0.0.0 Safari/537.36 Edg/{{0}}.0.0.0",
    f"(Linux; Android 10; K) {WEBKIT} Chrome/{{0}}.0.0.0 Mobile Safari/537.36",
    f"({IPHONE}) {APPLE} Version/18.{{1}} Mobile/15E148 Safari/604.1",
    f"({MAC}) {APPLE} Version/18.{{1}} Safari/605.1.15",
    f"({WINDOWS}; rv:{{0}}.0) Gecko/20100101 Firefox/{{0}}.0",
    f"({LINUX}; rv:{{0}}.0) Gecko/20100101 Firefox/{{0}}.0",
)


@kind
def devices(rng: Random) -> Session:
    versions = rng.randint(115, 180), rng.randint(0, 6)
    browser = "Mozilla/5.0 " + rng.choice(BROWSERS).format(*versions)
    extra = {
        "ip": address(rng),
        "ip_address": address(rng),
        "login_ip": address(rng),
        "last_seen": iso(rng),
        "login_at": iso(rng),
        "fingerprint": sha256(rng)[:32],
        "device_type": rng.choice(("desktop", "mobile", "tablet")),
        "is_mobile": False,
        "device": {"browser": "Chrome", "os": "Windows", "ip": address(rng)},
    }
    key = rng.choice(("user_agent", "ua", "agent", "browser"))
    return visitor(rng, {key: browser} | subset(rng, extra, 0.3), 0.9)


# Content, conversation, and languages other than English


@kind
def content_management(rng: Random) -> Session:
    layout = json.dumps(
        {
            "version": "3.11",
            "mode": "edit",
            "toolbar": "expanded",
            "sideframe": {
                "url": f"/admin/cms/page/{number(rng)}/change/",
                "hidden": maybe(rng, 0.5),
            },
        }
    )
    extra = {
        "passed_page_view_restrictions": [
            number(rng) for _ in range(rng.randint(1, 3))
        ],
        "passed_collection_view_restrictions": [number(rng)],
        "cms_toolbar_disabled": maybe(rng, 0.5),
        "cms_edit": maybe(rng, 0.5),
        "cms_preview": False,
        "cms_settings": layout.replace('"', "&quot;"),
        "cms_admin_site": 1,
        "wagtail-preview-" + str(number(rng)): [
            f"title={name(rng)}&slug={name(rng)}&body-count=1&body-0-type=paragraph",
            clock(rng),
        ],
        "draft": {
            "id": number(rng),
            "title": person(rng),
            "saved_at": iso(rng),
            "revision": 4,
        },
        "clipboard": [number(rng)],
        "filer_last_folder_id": str(number(rng)),
        "page_edit_language": rng.choice(LANGUAGES),
        "preview_token": urlsafe(rng, 32),
    }
    return visitor(rng, subset(rng, extra, 0.2), 0.85)


CHAT = (
    "Hello, how can I help you today?",
    "Could you explain that in more detail?",
    "What is the status of my order?",
    "Here is a short summary of the document.",
    "Thanks, that worked!",
    "I need to change the date of my appointment.",
    "Can you write a function that sorts this list?",
    "Sure, here is an example.",
    "Sorry, I do not understand the question.",
    "Is there a discount for students?",
)


@kind
def conversations(rng: Random) -> Session:
    turns = [
        {
            "role": rng.choice(("user", "assistant")),
            "content": f"{rng.choice(CHAT)} {person(rng)}",
        }
        for _ in range(rng.randint(1, 6))
    ]
    extra = {
        "chat_history": turns,
        "conversation_id": uuid4(rng),
        "messages": turns,
        "thread_id": rng.choice((f"thread_{token(rng, 24)}", number(rng))),
        "nickname": name(rng),
        "last_message_id": number(rng),
        "unread": rng.randint(0, 30),
        "room": slug(rng, ("room",)),
        "game": {
            "id": uuid4(rng),
            "board": [rng.choice(("", "X", "O")) for _ in range(9)],
            "turn": "X",
            "score": [rng.randint(0, 9), rng.randint(0, 9)],
        },
        "voted_polls": [number(rng)],
        "liked_posts": [number(rng) for _ in range(5)],
    }
    return visitor(rng, subset(rng, extra, 0.2), 0.6)


TEXTS: dict[str, tuple[str, ...]] = {
    "de": (
        "Bitte bestätigen Sie Ihre E-Mail-Adresse",
        "Für nächste Woche",
        "Größe",
        "München",
        "Lieferung an die Tür",
        "Übersicht",
    ),
    "fr": (
        "Votre commande est prête",
        "Paiement refusé, réessayez",
        "Livraison à domicile",
        "Dernière étape",
        "Hôtel",
    ),
    "es": (
        "¿Cómo podemos ayudarle?",
        "Envío gratis a toda España",
        "Contraseña incorrecta",
        "Sesión iniciada",
        "Categoría",
    ),
    "pt": (
        "Endereço de entrega",
        "Sua avaliação",
        "Não foi possível concluir",
        "São Paulo",
        "Configurações da conta",
    ),
    "pl": (
        "Dziękujemy za zamówienie",
        "Hasło jest nieprawidłowe",
        "Ulica i numer",
        "Wróć do sklepu",
        "Łódź",
    ),
    "tr": (
        "Siparişiniz alındı",
        "Şifreniz yanlış",
        "Giriş başarılı",
        "İstanbul",
        "Ödeme yöntemi",
    ),
    "ru": (
        "Ваш заказ принят",
        "Неверный пароль",
        "Добро пожаловать",
        "Москва",
        "Адрес доставки",
    ),
    "ar": ("تم حفظ التغييرات", "مرحبا بك", "كلمة المرور", "القاهرة", "عنوان التوصيل"),
    "zh": ("您的订单已提交", "密码错误", "欢迎回来", "上海市", "收货地址"),
    "ja": (
        "ご注文ありがとうございます",
        "パスワードが違います",
        "お届け先",
        "東京都",
        "ログイン",
    ),
}


@kind
def other_languages(rng: Random) -> Session:
    language = rng.choice(list(TEXTS))
    texts = TEXTS[language]
    extra = {
        "title": rng.choice(texts),
        "city": rng.choice(texts),
        "comment": " ".join(some(rng, texts)),
        "address": {
            "city": rng.choice(texts),
            "street": f"{rng.choice(texts)} {number(rng)}",
        },
        "last_search": rng.choice(texts),
        "status_message": rng.choice(texts),
        "draft": {
            "subject": rng.choice(texts),
            "body": ". ".join(some(rng, texts, 1, 5)),
        },
        "_messages": json.dumps([["__json_message", 0, 25, rng.choice(texts)]]),
        "breadcrumbs": some(rng, texts, 1, 3),
        "language": language,
    }
    return visitor(rng, subset(rng, extra, 0.25), 0.6)


# A site that is like no other: keys joined from everyday words

WORDS = """
    user item order page last next current active selected list type status count
    total name date time value state step form data filter group member profile
    account event task project file image report message note price number code key
    result query view mode flag level start end new old customer client product
    category job ticket issue board player team vehicle patient invoice device
    sensor contract
""".split()
ENDINGS = (
    "_id",
    "_at",
    "_ids",
    "_count",
    "_name",
    "_date",
    "_data",
    "_list",
    "",
    "",
    "_type",
)


def plain_value(rng: Random) -> Any:
    make = rng.choice((number, iso, date, name, person, money, uuid4, email, path, sku))
    return rng.choice(
        (make(rng), make(rng), maybe(rng, 0.5), None, rng.randint(0, 9), "")
    )


def plain_key(rng: Random) -> str:
    words: list[str] = some(rng, WORDS, 1, 2)
    if maybe(rng, 0.15):
        return words[0] + "".join(word.title() for word in words[1:])
    return "_".join(words) + rng.choice(ENDINGS)


def plain_data(rng: Random, most: int) -> Session:
    return {plain_key(rng): plain_value(rng) for _ in range(rng.randint(1, most))}


@kind
def bespoke(rng: Random) -> Session:
    data = plain_data(rng, 6)
    if maybe(rng, 0.4):
        data[plain_key(rng)] = plain_data(rng, 5)
    if maybe(rng, 0.3):
        row = list(plain_data(rng, 4))
        rows = [
            {key: plain_value(rng) for key in row} for _ in range(rng.randint(1, 4))
        ]
        data[plain_key(rng)] = rows
    return visitor(rng, data)


def corpus(count: int, seed: int = 1) -> dict[str, list[bytes]]:
    """Return the samples of every kind."""
    return {kind_name: samples(kind_name, count, seed) for kind_name in KINDS}
