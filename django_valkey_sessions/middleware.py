"""
``django_valkey_sessions.middleware.SessionMiddleware``, in the place of Django's.

What becomes of the session on the way out is decided at once: most often there is
nothing to do. What needs the server is a flow (see flow.py). Its commands are names of
the session's methods: these are called, or their twins awaited.
"""

import re
import sys
import time
from collections.abc import Iterable
from functools import lru_cache
from logging import getLogger
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware as DjangosMiddleware
from django.core.signals import got_request_exception
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.http import http_date
from django.utils.log import log_response

from . import pages
from .conf import conf
from .exceptions import SessionConflict, SessionStoreUnavailable
from .flow import Flow, arun, run

logger = getLogger("django_valkey_sessions")

#: What a visitor gets a page about, instead of an error of the site.
ANSWERED = (SessionStoreUnavailable, SessionConflict)
#: Where a request keeps such an error that Django has made a response of.
ERROR = "_session_error"


class SessionMiddleware(DjangosMiddleware):
    """
    Django's SessionMiddleware, which under ASGI awaits the session. What is more:

    - A session that is only read is touched, and its cookie renewed, when
      TOUCH_INTERVAL has passed; not by a passive request (see decorators.py).
    - When RENEW_AFTER has passed a session gets a new key.
    - SessionStoreUnavailable becomes a page 503 that leaves all cookies as they are,
      SessionConflict a page 409 (see pages.py).
    - The cookie of a session that is gone never makes an empty one.
    - If a session has ended before it could be saved, a log says what is known of why.

    With another session engine it does what Django's does.
    """

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        self.rolling = hasattr(self.SessionStore, "touch_is_due")
        # Whether the last session that was wanted could not be had.
        self.outage = False

    def __call__(self, request: HttpRequest) -> Any:
        if self.async_mode:
            return self.__acall__(request)
        try:
            response = self.process_request(request) or self.get_response(request)
            return self.process_response(request, response)
        except ANSWERED as error:
            return self._page(request, error)

    async def __acall__(self, request: HttpRequest) -> Any:
        get_response: Any = self.get_response
        try:
            response = self.process_request(request) or await get_response(request)
            return await self.aprocess_response(request, response)
        except ANSWERED as error:
            # In a thread, as Django's own: a site's template may ask the database.
            page = sync_to_async(self._page, thread_sensitive=False)
            return await page(request, error)

    def process_request(self, request: HttpRequest) -> Any:
        """Give the request its session. Nothing is asked for yet."""
        super().process_request(request)
        session: Any = request.session
        session.rolling = session.with_cookie = self.rolling
        paths = conf.PASSIVE_PATHS
        session.passive = bool(paths) and _is_among(paths, request.path_info)

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        """
        Save the session if it was changed, touch it if it was read and that is due, and
        let the cookie follow. Raise SessionInterrupted if it can't be saved because it
        has ended meanwhile.
        """
        flow = self._left_to_do(request, response)
        if flow is not None:
            run(flow, lambda step: _method(request.session, step)())
        return response

    async def aprocess_response(self, request: HttpRequest, response: Any) -> Any:
        """See process_response()."""
        flow = self._left_to_do(request, response)
        if flow is not None:
            await arun(flow, lambda step: _method(request.session, step, "a")())
        return response

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponse | None:
        """Take the error of a view, before Django logs it as one of the site."""
        if not isinstance(exception, ANSWERED):
            return None
        _note(request, exception)
        return HttpResponse(status=503)  # Until it gets here again.

    def _left_to_do(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> Flow[None] | None:
        """
        Finish the response as far as the server is not needed for it. Return the flow
        of the rest, if there is one.
        """
        if ERROR in vars(request):
            error: Exception = vars(request).pop(ERROR)
            if response.status_code >= 500:
                raise error
        try:
            session: Any = request.session
            accessed, modified = session.accessed, session.modified
            empty = session.is_empty()
        except AttributeError:
            return None
        flow = None
        if accessed:
            self.outage = False
        if empty:
            if settings.SESSION_COOKIE_NAME in request.COOKIES:
                _delete_cookie(response)
        elif response.status_code < 500:
            if modified or self._saves(session):
                flow = self._save(request, response)
            elif accessed and self.rolling:
                flow = self._refresh(session, response)
        if (
            accessed
            or flow is not None  # It may send a cookie, or remove one.
            or (response.cookies and settings.SESSION_COOKIE_NAME in response.cookies)
        ):
            if "Vary" in response.headers:
                patch_vary_headers(response, ["Cookie"])
            else:  # The same in half the time.
                response.headers["Vary"] = "Cookie"
        return flow

    def _saves(self, session: Any) -> bool:
        """Return True if a session that is not known to be changed is saved as well."""
        if not session.accessed:
            # A passive request that has not looked at it can't have changed it.
            if getattr(session, "passive", False):
                return False
        elif self.rolling and session.renewal_is_open():
            return True
        return settings.SESSION_SAVE_EVERY_REQUEST

    def _save(self, request: HttpRequest, response: HttpResponseBase) -> Flow[None]:
        session: Any = request.session
        if not hasattr(session, "_session_cache"):
            # Only when it is loaded is it seen that a cookie is a stray one.
            yield ["get_expire_at_browser_close"]
            if session.is_empty():
                if settings.SESSION_COOKIE_NAME in request.COOKIES:
                    _delete_cookie(response)
                return
        kept = renews = by_view = False
        if self.rolling:
            # Whether the view has saved or touched it by itself.
            by_view = session.asked
            session.asked = False
            if session.passive:
                kept = session.keeps_expiry()
            else:
                renews = session.renewal_is_due()
        try:
            yield ["renew" if renews else "save"]
        except UpdateError as error:
            if self.rolling:  # Else it says nothing.
                logger.warning("%s", error)
            raise SessionInterrupted(
                "The request's session was deleted before the request completed. The "
                "user may have logged out in a concurrent request, for example."
            ) from error
        if not self.rolling:
            # Another engine may have to wait for what is in memory here.
            ends = yield ["get_expire_at_browser_close"]
            age = None if ends else (yield ["get_expiry_age"])
            _send_cookie(session, response, age)
            return
        if kept and _has_cookie(request):
            return
        if conf.RENEW_AFTER is None or session.asked or session.fresh_key:
            _set_cookie(session, response)
        elif by_view or not _has_cookie(request):
            yield from self._look_and_send(session, response)
        # Else nothing is new to the browser. The next touch sends it the key again.

    def _refresh(self, session: Any, response: HttpResponseBase) -> Flow[None] | None:
        """
        Return the flow that renews or touches a session that was only read, if that is
        due. Else send its key if another request has changed that.
        """
        if not session.passive:
            if session.renewal_is_due():
                return self._renew(session, response)
            if session.touch_is_due():
                return self._touch(session, response)
        return self._look_and_send(session, response) if session.followed else None

    def _renew(self, session: Any, response: HttpResponseBase) -> Flow[None]:
        try:
            yield ["renew"]
        except (UpdateError, SessionConflict):
            # It has ended meanwhile, or others save it all the time. Nothing is lost by
            # that, and the next request tries again.
            return
        _set_cookie(session, response)

    def _touch(self, session: Any, response: HttpResponseBase) -> Flow[None]:
        touched = yield ["touch"]
        # The cookie of one that ends with the browser has no end that would be later.
        later = not session.get_expire_at_browser_close()
        if touched and (later or session.followed):
            _set_cookie(session, response)

    def _look_and_send(self, session: Any, response: HttpResponseBase) -> Flow[None]:
        """
        Send the key that the session has by now. A late response must not bring back
        one that another request has renewed.
        """
        try:
            there = yield ["look_again"]
        except SessionStoreUnavailable:
            # No reason to lose the response: the browser's key leads to the session.
            return
        if there:
            _set_cookie(session, response)

    def _page(self, request: HttpRequest, error: Exception) -> HttpResponse:
        response = pages.page(request, error)
        level = None
        if isinstance(error, SessionStoreUnavailable):
            # Once for an outage, and with that one mail to the admins.
            level = "debug" if self.outage else "error"
            self.outage = True
        log_response(
            "%s: %s",
            response.reason_phrase,
            request.path,
            response=response,
            request=request,
            level=level,
            exception=error,
        )
        return response


def _method(session: Any, step: Any, prefix: str = "") -> Any:
    """Return the method that the flow has named, or its awaiting twin."""
    (name,) = step
    return getattr(session, prefix + name)


#: Takes a third of a cookie's time, and is the same for all requests of a second.
_date = lru_cache(maxsize=8)(http_date)


# Cookies. Their values are not kept in variables, which are shown in error reports.


def _has_cookie(request: HttpRequest) -> bool:
    """Return True if the browser knows the key that the session has now."""
    name = settings.SESSION_COOKIE_NAME
    return bool(request.COOKIES.get(name) == request.session.session_key)


def _set_cookie(session: Any, response: HttpResponseBase) -> None:
    """Send the key of a session of ours, which is in memory: nothing is waited for."""
    ends = session.get_expire_at_browser_close()
    _send_cookie(session, response, None if ends else session.get_expiry_age())


def _send_cookie(session: Any, response: HttpResponseBase, max_age: int | None) -> None:
    response.set_cookie(
        settings.SESSION_COOKIE_NAME,
        session.session_key,
        max_age=max_age,
        expires=None if max_age is None else _date(int(time.time() + max_age)),
        domain=settings.SESSION_COOKIE_DOMAIN,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE or False,
        httponly=settings.SESSION_COOKIE_HTTPONLY or False,
        samesite=settings.SESSION_COOKIE_SAMESITE,
    )


def _delete_cookie(response: HttpResponseBase) -> None:
    response.delete_cookie(
        settings.SESSION_COOKIE_NAME,
        path=settings.SESSION_COOKIE_PATH,
        domain=settings.SESSION_COOKIE_DOMAIN,
        samesite=settings.SESSION_COOKIE_SAMESITE,
    )


def _is_among(paths: Iterable[str | re.Pattern[str]], path: str) -> bool:
    return any(
        path.startswith(start) if isinstance(start, str) else start.match(path)
        for start in paths
    )


# Errors that Django has made a response of before it gets here.


@receiver(got_request_exception, dispatch_uid="django_valkey_sessions.middleware")
def _note_converted(*, request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Take note of an error of another middleware, which Django makes a 500."""
    error = sys.exception()
    if request is not None and isinstance(error, ANSWERED):
        _note(request, error)


def _note(request: HttpRequest, error: Exception) -> None:
    vars(request)[ERROR] = error
