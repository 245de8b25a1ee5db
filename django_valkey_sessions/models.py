"""The session as the admin needs it: a model, for its permissions and its log."""

from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from .sessions import SessionInfo


class NoSessions(models.Manager["Session"]):
    """Finds nothing, and does not ask the database, which has no table to look in."""

    def get_queryset(self) -> models.QuerySet["Session"]:
        return super().get_queryset().none()


class Session(models.Model):
    """A session in Valkey. The database has nothing of it, not even a table."""

    id = models.CharField(primary_key=True, max_length=32, editable=False)

    objects = NoSessions()

    if TYPE_CHECKING:  # What the admin knows of it.
        info: SessionInfo
        user: str | None  # Name, or id if there is no such user. None: nobody is.
        user_url: str | None  # Where the user is shown to who looks.
        entries: list[tuple[str, str, Any]] | None  # What it holds, if that is known.
        own: bool  # It is the session of who looks.

    class Meta:
        app_label = "django_valkey_sessions"
        managed = False
        # dumpdata reads every model there is, also those without a table, through one
        # of these two managers.
        base_manager_name = default_manager_name = "objects"
        default_permissions = ("view", "delete")
        permissions = [("view_session_data", _("Can view what sessions hold"))]
        verbose_name = _("session")
        verbose_name_plural = _("sessions")

    def __str__(self) -> str:
        return f"{self.id[:12]}…"
