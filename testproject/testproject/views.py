"""
The pages of the demo. What changes the session exists twice, blocking and awaiting,
as a site's own views would do it.
"""

import asyncio
import json
import time
from datetime import timedelta

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from django_valkey_sessions import client, keys
from django_valkey_sessions.conf import conf

from .middleware import Cost, costs

#: Milliseconds. A slow request holds a thread of the server.
SLOWEST = 5000
#: How many bytes of the stored value are shown.
SHOWN = 176
#: What the value begins with, and how many bytes that has.
HEADER = (("version", 1), ("flags", 1), ("created", 4), ("stamp", 12))


class EntryForm(forms.Form):
    key = forms.SlugField(max_length=40)
    value = forms.CharField(max_length=400, required=False)

    def clean_key(self) -> str:
        key: str = self.cleaned_data["key"]
        if key.startswith("_") or key in ("visits", "basket"):
            message = gettext("“%s” is the site's own, take another.")
            raise forms.ValidationError(message % key)
        return key


# What there is to see.


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show what the session holds, and everything that can be done with it."""
    contents = {
        key: json.dumps(value, default=str, ensure_ascii=False)
        for key, value in sorted(request.session.items())
    }
    context = {
        "contents": contents,
        "costs": _costs(request.session),
        "save_every_request": settings.SESSION_SAVE_EVERY_REQUEST,
    }
    return render(request, "home.html", context)


@require_safe
def data(request: HttpRequest) -> JsonResponse:
    """Return what the session holds, for those who have no browser."""
    user = request.user.get_username() or None
    return JsonResponse({"user": user, "session": dict(request.session.items())})


@require_safe
def stored(request: HttpRequest) -> HttpResponse:
    """Show what the server holds for this session."""
    session = request.session
    plain = session.serializer().dumps(dict(session.items()))
    if session.session_key is None:
        return render(request, "stored.html")
    id = keys.session_id(session.session_key)
    key = keys.stored_key(conf.PREFIX, id)
    left, size, blob = client.execute((["PTTL", key], ["STRLEN", key], ["GET", key]))
    context = {
        "id": id,
        "key": key,
        "server": conf.LOCATION,
        "left": timedelta(seconds=left // 1000),
        "size": size,
        "plain_size": len(plain),
        "widest": max(size, len(plain)),
        "sealed": conf.SEAL,
        "parts": _parts(blob or b""),
        "more": max(0, size - SHOWN),
        "costs": _costs(session),
    }
    return render(request, "stored.html", context)


# Changes, blocking.


@require_POST
def change(request: HttpRequest) -> HttpResponse:
    session, what = request.session, request.POST.get("what")
    if what == "count":
        session["visits"] = session.get("visits", 0) + 1
    elif what == "basket":
        # Only the first time does Django notice: then the change is inside a value.
        session.setdefault("basket", {"items": []})["items"].append(_now())
    elif entry := _entry(request, request.POST.get("key")):
        session.update(entry)
    return redirect("home")


@require_POST
def set_slowly(request: HttpRequest, key: str) -> HttpResponse:
    """Load the session, take some time, and change this one key of it."""
    if entry := _entry(request, key):
        request.session.get(key)
        time.sleep(_delay(request))
        request.session.update(entry)
    return redirect("home")


@require_POST
def cycle(request: HttpRequest) -> HttpResponse:
    """Give the session a new key, as a login does."""
    request.session.cycle_key()
    done = gettext("The session has a new key; the old one is worthless.")
    messages.success(request, done)
    return redirect("home")


# Changes, awaiting.


@require_POST
async def achange(request: HttpRequest) -> HttpResponse:
    session, what = request.session, request.POST.get("what")
    if what == "count":
        await session.aset("visits", await session.aget("visits", 0) + 1)
    elif what == "basket":
        basket = await session.asetdefault("basket", {"items": []})
        basket["items"].append(_now())
    elif entry := _entry(request, request.POST.get("key")):
        await session.aupdate(entry)
    return redirect("home")


@require_POST
async def aset_slowly(request: HttpRequest, key: str) -> HttpResponse:
    """See set_slowly()."""
    if entry := _entry(request, key):
        await request.session.aget(key)
        await asyncio.sleep(_delay(request))
        await request.session.aupdate(entry)
    return redirect("home")


# What they share.


def _entry(request: HttpRequest, key: str | None) -> dict[str, str]:
    """Return the one entry to set; nothing, and tell why, if it may not be set."""
    form = EntryForm({"key": key, "value": request.POST.get("value")})
    if form.is_valid():
        return {form.cleaned_data["key"]: form.cleaned_data["value"] or _now()}
    for name, errors in form.errors.items():
        text = " ".join(map(str, errors))
        messages.error(request, f"{gettext(name.title())}: {text}")
    return {}


def _delay(request: HttpRequest) -> float:
    """Return the seconds that ?slow= asks for in milliseconds."""
    slow = request.GET.get("slow", "")
    return min(int(slow), SLOWEST) / 1000 if slow.isdecimal() else 0


def _now() -> str:
    return timezone.now().strftime("%H:%M:%S.%f")


def _costs(session: SessionBase) -> list[Cost]:
    if session.session_key is None:
        return []
    return costs.of(keys.session_id(session.session_key))


def _parts(blob: bytes) -> list[tuple[str, str]]:
    """Return name and bytes, in hexadecimal, of each part of a stored value."""
    parts, start = [], 0
    for name, size in (*HEADER, ("body", SHOWN)):
        parts.append((name, blob[start : min(start + size, SHOWN)].hex(" ")))
        start += size
    return parts
