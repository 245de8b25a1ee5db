"""What a client gets when its session could neither be had nor saved."""

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import Context, Engine, TemplateDoesNotExist, loader
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django.utils.translation import get_language, gettext, gettext_noop

from .exceptions import SessionConflict

#: Seconds until a client may try again. A server that was only restarted is back then.
RETRY_AFTER = 5
TEMPLATE = "django_valkey_sessions/unavailable.html"


@dataclass(frozen=True, slots=True)
class Text:
    status: HTTPStatus
    title: str
    message: str


UNAVAILABLE = Text(
    HTTPStatus.SERVICE_UNAVAILABLE,
    gettext_noop("Out of order for the moment"),
    gettext_noop(
        "The server that keeps the sessions does not answer. You are not logged out. "
        "If you have just sent something, it may not be saved."
    ),
)
# Not a 503: some clients cause it themselves, and by that must not make the site look
# broken to the balancer in front of it.
CONFLICT = Text(
    HTTPStatus.CONFLICT,
    gettext_noop("Too much at the same time"),
    gettext_noop(
        "Too many other requests of yours were saved at the same time. What you have "
        "just sent may not be saved. Please try again."
    ),
)


def page(request: HttpRequest, error: Exception) -> HttpResponse:
    """
    Return the page about this error: the site's 503.html (or 409.html), else the
    template django_valkey_sessions/unavailable.html; JSON for a client that prefers it.
    """
    text = CONFLICT if isinstance(error, SessionConflict) else UNAVAILABLE
    response = _body(request, text, str(error) if settings.DEBUG else "")
    response.status_code = text.status
    if text is UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    add_never_cache_headers(response)
    patch_vary_headers(response, ["Accept", "Cookie"])
    return response


def _body(request: HttpRequest, text: Text, reason: str) -> HttpResponse:
    types = ["text/html", "application/json"]
    if request.get_preferred_type(types) == "application/json":
        return JsonResponse({"detail": gettext(text.message)})
    context = {
        "title": gettext(text.title),
        "message": gettext(text.message),
        "reason": reason,
        "retry": gettext("Try again"),
        "language": get_language() or settings.LANGUAGE_CODE,
    }
    return HttpResponse(_rendered(f"{text.status}.html", context))


def _rendered(name: str, context: dict[str, str]) -> str:
    """Render without the request, whose user and messages are in the session."""
    try:
        template: Any = loader.select_template([name, TEMPLATE])
    except TemplateDoesNotExist:
        # As Django's own error pages: also where no engine is set up, or the template
        # is not found because the app is not installed.
        source = Path(__file__).parent / "templates" / TEMPLATE
        builtin = Engine().from_string(source.read_text(encoding="utf-8"))
        return builtin.render(Context(context))
    rendered: str = template.render(context)
    return rendered
