"""The pages for what a visitor of the demo is meant to see going wrong."""

from django.contrib.sessions.exceptions import SessionInterrupted
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter

from django_valkey_sessions.exceptions import SessionStoreUnavailable

PAGES: dict[type[Exception], str] = {
    SessionStoreUnavailable: "500.html",
    SessionInterrupted: "400.html",
}


class Reporter(ExceptionReporter):
    """Django's page with the traceback, but the site's own for these two."""

    def get_traceback_html(self) -> SafeString:
        for kind, page in PAGES.items():
            if isinstance(self.exc_value, kind):
                return render_to_string(page, {"reason": str(self.exc_value)})
        return super().get_traceback_html()
