"""The page for what a visitor of the demo is meant to see going wrong."""

from django.contrib.sessions.exceptions import SessionInterrupted
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter


class Reporter(ExceptionReporter):
    """Django's page with the traceback, but the site's own for an ended session."""

    def get_traceback_html(self) -> SafeString:
        if isinstance(self.exc_value, SessionInterrupted):
            return render_to_string("400.html", {"reason": str(self.exc_value)})
        return super().get_traceback_html()
