"""The page on which users see where they are logged in, and end that."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.generic import TemplateView

from . import sessions
from .backend import SessionStore

#: What is posted instead of an id, to end all sessions but that of the request.
OTHERS = "others"


# As LoginView: also where the site's middleware does not protect all its forms.
@method_decorator([never_cache, csrf_protect], name="dispatch")
class SessionsView(LoginRequiredMixin, TemplateView):
    """
    The sessions of the user, and no others. The template gets them as ``sessions``,
    this one first, then the last used; and the id of this one as ``current``.

    A POST ends the session whose id it gives as ``end``, or all but this one if that is
    "others".
    """

    template_name = "django_valkey_sessions/sessions.html"

    def reauthenticate(self, request: HttpRequest) -> HttpResponseBase | None:
        """
        Called before anything is ended. Override it to return what lets the user prove
        who they are, such as a redirect to a form; None lets them go on.
        """
        return None

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        if not isinstance(getattr(request, "session", None), SessionStore):
            raise ImproperlyConfigured(
                f"{type(self).__name__} shows sessions of the engine "
                f"{SessionStore.__module__!r}, and SESSION_ENGINE is "
                f"{settings.SESSION_ENGINE!r}."
            )

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        current = sessions.id_of(self.request.session)
        own = sessions.for_user(self.request.user)
        own.sort(key=lambda info: info.id != current)
        return super().get_context_data(sessions=own, current=current, **kwargs)

    def post(self, request: HttpRequest) -> HttpResponseBase:
        response = self.reauthenticate(request)
        if response is not None:
            return response
        end = request.POST.get("end", "")
        if end == OTHERS:
            return self._end_others(request)
        if end == sessions.id_of(request.session):
            logout(request)
            return redirect(settings.LOGOUT_REDIRECT_URL or settings.LOGIN_URL)
        return self._end(request, end)

    def _end(self, request: HttpRequest, id: str) -> HttpResponseBase:
        # What is not shown to this user is not looked up, so nobody learns of it.
        own = [info.id for info in sessions.for_user(request.user)]
        if id in own and sessions.revoke(id):
            return self._done(request, gettext("The session was ended."))
        return self._done(request, gettext("That session had ended already."))

    def _end_others(self, request: HttpRequest) -> HttpResponseBase:
        ended = sessions.revoke_user(request.user, keep=request.session)
        done = ngettext(
            "%(count)d other session was ended.",
            "%(count)d other sessions were ended.",
            ended,
        )
        return self._done(request, done % {"count": ended})

    def _done(self, request: HttpRequest, message: str) -> HttpResponseBase:
        messages.success(request, message, fail_silently=True)
        return redirect(request.get_full_path())
