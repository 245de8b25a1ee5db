"""
"Sessions" in the admin: Django's own pages, filled from sessions.py.

There is no table, so nothing here reaches the database but the names of users and the
admin's log. What is not known of a session shows as empty.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, auth, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.formats import date_format, localize
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.debug import SafeExceptionReporterFilter

from . import keys, sessions
from .conf import BadSetting, conf
from .devices import Device
from .exceptions import SessionConflict, SessionStoreUnavailable
from .models import Session
from .sessions import SessionInfo, Where

#: How many users a search looks at, and how many sessions of each.
USERS, OF_EACH = 20, 500
#: What a session has only if its login was recorded, and what each has: two lines.
OF_LOGIN = ("agent", "address", "logged_in")
OF_TIME = ("created", "last_active", "expires", "size")
TEMPLATES = "admin/django_valkey_sessions/session"

View = Callable[..., HttpResponseBase]

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Session]
else:
    ModelAdmin = admin.ModelAdmin


def _within(time: timedelta) -> Where:
    return lambda i: i.expires is not None and i.expires <= timezone.now() + time


#: What a filter chooses that has no choice, or one that there is not.
ANY: tuple[Any, Where] = (None, lambda info: True)


class Choice(admin.SimpleListFilter):
    """A filter whose choices are questions about a session."""

    choices_of: dict[str, tuple[Any, Where]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(value, name) for value, (name, _) in self.choices_of.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset  # There is nothing in it: SessionList asks where().

    def where(self) -> Where:
        return self.choices_of.get(self.value() or "", ANY)[1]


class State(Choice):
    title = _("state")
    parameter_name = "state"
    choices_of = {
        "user": (_("Logged in"), lambda i: i.user_id is not None),
        "anonymous": (_("Anonymous"), lambda i: bool(i.created) and i.user_id is None),
        "unreadable": (_("Unreadable"), lambda i: i.created is None),
    }


class Expiry(Choice):
    title = _("expiry")
    parameter_name = "expires"
    choices_of = {
        "hour": (_("Within an hour"), _within(timedelta(hours=1))),
        "day": (_("Within a day"), _within(timedelta(days=1))),
        "never": (_("Never"), lambda i: i.expires is None),
    }


class SessionList(ChangeList):
    """One page of sessions: some that SCAN has come by, or those that were searched."""

    next: str | None

    def get_results(self, request: HttpRequest) -> None:
        self.next, self.looked_at = None, 0
        self.first, self.incomplete = True, False
        infos = self._found() if self.query.strip() else self._page(request)
        self.result_list = _sessions(infos, request)
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = False
        self.show_admin_actions = bool(self.result_list)
        self.can_show_all, self.multi_page = False, False
        self.end_all_of = self._one_of_all(request)

    def _page(self, request: HttpRequest) -> list[SessionInfo]:
        start = request.GET.get(PAGE_VAR)
        try:
            page = sessions.page(start, self._where)
        except ValueError as error:
            raise IncorrectLookupParameters from error
        self.first = start is None
        if page.next is not None:
            self.next = self.get_query_string({PAGE_VAR: page.next})
            if len(page.infos) < sessions.PAGE:
                self.looked_at = page.looked_at
        return page.infos

    def _found(self) -> list[SessionInfo]:
        text = self.query.strip()
        try:
            info = sessions.get(text)
        except ValueError:  # It is no id of a session.
            info = None
        found = {} if info is None else {info.id: info}
        users = _users(text)
        for user in users:
            theirs = sessions.for_user(user, limit=OF_EACH)
            found.update((info.id, info) for info in theirs)
            self.incomplete |= len(theirs) == OF_EACH
        self.incomplete |= len(users) > USERS
        return [info for info in found.values() if self._where(info)]

    def _where(self, info: SessionInfo) -> bool:
        filters = cast(list[Choice], self.filter_specs)
        return all(filter.where()(info) for filter in filters)

    def _one_of_all(self, request: HttpRequest) -> Session | None:
        """Return one of the sessions if all are of one user, and may be ended."""
        users = {session.info.user_id for session in self.result_list}
        may_end = self.model_admin.has_delete_permission(request)
        if not self.query or not may_end or len(users) != 1 or users == {None}:
            return None
        return cast(Session, self.result_list[0])


@admin.register(Session)
class SessionAdmin(ModelAdmin):
    list_display = ["name", "user", "created", "last_active", "expires", "size"]
    list_filter = [State, Expiry]
    search_fields = ["id"]  # What is searched stands in SessionList.
    search_help_text = _("Name or id of a user, or id of a session.")
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    actions = ["delete_selected"]
    fields = ("whole_id", "user_link", OF_LOGIN, OF_TIME)
    readonly_fields = ("whole_id", "user_link", *OF_LOGIN, *OF_TIME)

    # Who may do what.

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_data_permission(self, request: HttpRequest) -> bool:
        """Return True if the user may see what sessions hold."""
        right = f"{self.opts.app_label}.view_session_data"
        return self.has_view_permission(request) and request.user.has_perm(right)

    # What Django's pages ask for.

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return SessionList

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        names = [*super().get_list_display(request)]
        if conf.RECORD_DEVICE:
            names.insert(names.index("user") + 1, "device")
        return names

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        names = super().get_fields(request, obj)
        recorded = obj is not None and obj.info.device is not None
        return [name for name in names if recorded or name != OF_LOGIN]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Session], search_term: str
    ) -> tuple[QuerySet[Session], bool]:
        return queryset, False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Session:
        """Return the session with this id. Raise Http404 if there is none."""
        if not (
            self.has_view_permission(request) or self.has_delete_permission(request)
        ):
            raise PermissionDenied
        found = self._found(request, [object_id])
        if not found:
            raise Http404(gettext("There is no such session. It may have ended."))
        (session,) = found
        session.user_url = self._user_url(request, session)
        session.entries = _entries(session.info)
        return session

    def get_urls(self) -> list[Any]:
        view, name = self.admin_site.admin_view, "django_valkey_sessions_session"
        urls = [
            path(
                "user/<path:user>/delete/",
                view(self.delete_user_view),
                name=f"{name}_delete_user",
            ),
            path("<path:object_id>/data/", view(self.data_view), name=f"{name}_data"),
            *super().get_urls(),
        ]
        for url in urls:
            url.callback = self._explaining(url.callback)
        return urls

    # The columns.

    @admin.display(description=_("session"))
    def name(self, session: Session) -> str:
        if session.own:
            return format_html("<bdi>{}</bdi> <b>({})</b>", session, _("yours"))
        return format_html("<bdi>{}</bdi>", session)

    @admin.display(description=_("id"))
    def whole_id(self, session: Session) -> str:
        if session.own:
            own = _("the session that you use now")
            return format_html("<code>{}</code> <b>({})</b>", session.id, own)
        return format_html("<code>{}</code>", session.id)

    @admin.display(description=_("user"))
    def user(self, session: Session) -> str:
        if session.info.created is None:
            return gettext("unreadable")
        return session.user or gettext("anonymous")

    @admin.display(description=_("user"))
    def user_link(self, session: Session) -> str:
        name = self.user(session)
        if session.user_url is None:
            return name
        return format_html('<a href="{}">{}</a>', session.user_url, name)

    @admin.display(description=_("browser"))
    def device(self, session: Session) -> str:
        # The browser in one line, the system in the next where the column is narrow.
        text = str(session.info.device or "-")
        return text.replace(" ", "\xa0").replace(",\xa0", ", ")

    # What is recorded of a login: get_fields() leaves it out where nothing is.

    @admin.display(description=_("browser"))
    def agent(self, session: Session) -> str:
        device = cast(Device, session.info.device)
        if str(device) == device.agent:  # Which may be nothing.
            return device.agent or gettext("unknown")
        return format_html(
            '{}<div class="help"><bdi>{}</bdi></div>', device, device.agent
        )

    @admin.display(description=_("approximate address"))
    def address(self, session: Session) -> str:
        return cast(Device, session.info.device).address or gettext("unknown")

    @admin.display(description=_("logged in"))
    def logged_in(self, session: Session) -> str:
        return _shown(session.info.logged_in)

    # What is known of each.

    @admin.display(description=_("created"))
    def created(self, session: Session) -> str:
        return _shown(session.info.created)

    @admin.display(description=_("last active"))
    def last_active(self, session: Session) -> str:
        return _shown(session.info.last_active)

    @admin.display(description=_("expires"))
    def expires(self, session: Session) -> str:
        return _shown(session.info.expires, gettext("never"))

    @admin.display(description=_("size"))
    def size(self, session: Session) -> str:
        return filesizeformat(session.info.size)

    # One session.

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        rights = {
            "may_see_values": self.has_data_permission(request),
            "may_end": self.has_delete_permission(request),
        }
        context = {**rights, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def data_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """
        Show the session with what it holds, and log that. Only on POST: nobody is to
        come here by a link.
        """
        if not self.has_data_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(("POST",))
        session = self.get_object(request, unquote(object_id))
        self.log_change(request, session, gettext("Looked at what it holds."))
        # From here on this is the session's page, for which a POST is a change.
        request.method = "GET"
        return self.change_view(request, object_id, extra_context={"values": True})

    # Ending sessions.

    @admin.action(permissions=["delete"], description=_("End selected sessions"))
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Session]
    ) -> HttpResponse | None:
        """Takes the place, and the name, of the admin's own action."""
        chosen = self._found(request, request.POST.getlist(ACTION_CHECKBOX_NAME))
        if request.POST.get("post"):
            self._end(request, chosen)
            return None
        if not chosen:
            self._tell(request, 0)
            return None
        hidden = [(ACTION_CHECKBOX_NAME, session.id) for session in chosen]
        hidden.append(("action", "delete_selected"))
        return self._ask(request, gettext("End sessions"), chosen, hidden)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        if not self.has_delete_permission(request):
            raise PermissionDenied
        chosen = [self.get_object(request, unquote(object_id))]
        if request.method != "POST":
            return self._ask(request, gettext("End session"), chosen)
        self._end(request, chosen)
        return self._to_the_list()

    def delete_user_view(self, request: HttpRequest, user: str) -> HttpResponse:
        """End all sessions of the user with this id."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        user = unquote(user)
        chosen = _sessions(sessions.for_user(user, limit=OF_EACH), request)
        if not chosen:
            raise Http404(gettext("This user has no session."))
        if request.method != "POST":
            title = gettext("End all sessions of %s") % chosen[0].user
            return self._ask(request, title, chosen, of_user=user)
        all_of_user = gettext("All sessions of %s") % chosen[0].user
        # One entry, because there may be any number of sessions.
        LogEntry.objects.create(
            user_id=cast(int, request.user.pk),
            content_type=ContentType.objects.get_for_model(Session),
            object_repr=all_of_user[:200],
            action_flag=DELETION,
        )
        own = _uses_one_of(request, user)
        ended = sessions.revoke_user(user, keep=request.session if own else None)
        if own:
            auth.logout(request)
        self._tell(request, ended + own)
        return self._to_the_list()

    def _end(self, request: HttpRequest, chosen: Iterable[Session]) -> None:
        """End sessions, the own one last, and log each just before."""
        ended = 0
        for session in sorted(chosen, key=lambda session: session.own):
            self.log_deletions(request, cast(Any, [session]))
            if session.own:
                # Else the middleware would meet a session that is gone.
                auth.logout(request)
                ended += 1
            else:
                ended += sessions.revoke(session.id)
        self._tell(request, ended)

    def _tell(self, request: HttpRequest, ended: int) -> None:
        text = ngettext("%d session ended.", "%d sessions ended.", ended) % ended
        level = messages.SUCCESS if ended else messages.WARNING
        self.message_user(request, text, level)

    def _ask(
        self,
        request: HttpRequest,
        title: str,
        chosen: Sequence[Session],
        hidden: Iterable[tuple[str, str]] = (),
        of_user: str | None = None,
    ) -> HttpResponse:
        own = any(session.own for session in chosen)
        context = {
            "title": title,
            "chosen": chosen,
            "hidden": hidden,
            "incomplete": of_user is not None and len(chosen) == OF_EACH,
            "own": own or (of_user is not None and _uses_one_of(request, of_user)),
        }
        return self._response(request, "delete_confirmation.html", context)

    # What they share.

    def _found(self, request: HttpRequest, ids: Iterable[str]) -> list[Session]:
        infos = (sessions.get(id) for id in ids if keys.stored_id("", id))
        return _sessions([info for info in infos if info is not None], request)

    def _user_url(self, request: HttpRequest, session: Session) -> str | None:
        """Return where the user is in this admin; None if nowhere, or not for all."""
        opts = auth.get_user_model()._meta
        right = f"{opts.app_label}.{auth.get_permission_codename('view', opts)}"
        if session.info.user_id is None or not request.user.has_perm(right):
            return None
        try:
            return reverse(
                f"admin:{opts.app_label}_{opts.model_name}_change",
                args=[quote(session.info.user_id)],
                current_app=self.admin_site.name,
            )
        except NoReverseMatch:
            return None

    def _to_the_list(self) -> HttpResponse:
        name = "admin:django_valkey_sessions_session_changelist"
        return HttpResponseRedirect(reverse(name, current_app=self.admin_site.name))

    def _explaining(self, view: View) -> View:
        """Let the view answer with a page that says what is wrong with the server."""

        @wraps(view)
        def explaining(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                return view(request, *args, **kwargs)
            except (SessionStoreUnavailable, SessionConflict, BadSetting) as error:
                context = {"title": gettext("Sessions"), "reason": str(error)}
                name = "unavailable.html"
                response = self._response(request, name, context, status=503)
                add_never_cache_headers(response)
                return response

        return explaining

    def _response(
        self,
        request: HttpRequest,
        name: str,
        context: dict[str, Any],
        status: int = 200,
    ) -> TemplateResponse:
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            **context,
        }
        return TemplateResponse(request, f"{TEMPLATES}/{name}", context, status=status)


def _sessions(infos: Sequence[SessionInfo], request: HttpRequest) -> list[Session]:
    """Return the sessions as the pages show them to who makes this request."""
    # If the site's engine is another one, no session has this id.
    own = sessions.id_of(request.session)
    names = _names({info.user_id for info in infos if info.user_id is not None})
    found = []
    for info in infos:
        session = Session(id=info.id)
        session.info, session.own = info, info.id == own
        session.user = names.get(info.user_id or "", info.user_id)
        found.append(session)
    return found


def _uses_one_of(request: HttpRequest, user: str) -> bool:
    """Return True if the session of who makes this request is one of this user's."""
    id = sessions.id_of(request.session)
    info = None if id is None else sessions.get(id)
    return info is not None and info.user_id == user


def _shown(moment: datetime | None, otherwise: str = "-") -> str:
    if moment is None:
        return otherwise
    moment = timezone.localtime(moment)
    text, time = str(localize(moment)), date_format(moment, "TIME_FORMAT")
    # In two lines at the most, however narrow the column is: the day, and the time.
    day = text.removesuffix(f" {time}")
    parts = [day] if day == text else [day, time]
    return " ".join(part.replace(" ", "\xa0") for part in parts)


def _entries(info: SessionInfo) -> list[tuple[str, str, Any]] | None:
    """Return name, type and value of what the session holds; None: it is unreadable."""
    if info.created is None:
        return None
    # What Django hides in error reports could let somebody act as the user.
    hide = SafeExceptionReporterFilter().cleanse_setting
    data = sorted(info.decode().items(), key=lambda item: str(item[0]))
    return [(key, type(value).__name__, hide(key, value)) for key, value in data]


def _users(text: str) -> list[str]:
    """
    Return the ids of the users with this id or name; if there are none, of those with
    a name like this, and the id all the same: the user may be gone. If these are more
    than USERS, return one more.
    """
    model: Any = auth.get_user_model()
    name, pk = model.USERNAME_FIELD, _pk(model, text)
    users = model._default_manager.order_by(name)
    exact = users.filter(Q(pk=pk) | Q(**{name: text}))
    if ids := [_text(user) for user in exact]:
        return ids
    ids = [] if pk is None else [_text(model(pk=pk))]
    like = users.filter(**{f"{name}__icontains": text})[: USERS + 1]
    return ids + [_text(user) for user in like]


def _names(ids: set[str]) -> dict[str, str]:
    """Return the names of those of the users who exist, by their ids."""
    model: Any = auth.get_user_model()
    pks = [pk for id in ids if (pk := _pk(model, id)) is not None]
    users = model._default_manager.in_bulk(pks).values()
    return {_text(user): user.get_username() for user in users}


def _pk(model: Any, text: str) -> Any:
    """Return what the users' primary key is for this id; None if it can't be one."""
    try:
        pk = model._meta.pk.to_python(text)
        model._meta.pk.run_validators(pk)  # A database may refuse a large number.
    except ValidationError:
        return None
    return pk


def _text(user: Any) -> str:
    """Return the user's id as django.contrib.auth keeps it in sessions."""
    return str(user._meta.pk.value_to_string(user))
