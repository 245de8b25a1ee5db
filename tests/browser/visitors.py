"""Who looks at the site: a browser of its own, with all that it complains about."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response

#: What Chromium says of a page that is an error itself. Tests ask for its status.
STATUS = "Failed to load resource"
#: And when a page is left before its WebSocket is open.
LEFT = "WebSocket is closed before the connection is established"

Open = Callable[..., "Visitor"]


class Visitor:
    def __init__(self, browser: Browser, site: str, **options: Any) -> None:
        self.site = site
        self.context: BrowserContext = browser.new_context(base_url=site, **options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        #: Whatever no page may do: errors of scripts, requests to others, what the
        #: site's Content-Security-Policy forbids.
        self.problems: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("response", self._look_at)

    def _hear(self, message: ConsoleMessage) -> None:
        usual = STATUS in message.text or LEFT in message.text
        if message.type in ("error", "warning") and not usual:
            self.problems.append(message.text)

    def _look_at(self, response: Response) -> None:
        is_page = response.request.is_navigation_request()
        if not response.url.startswith((self.site, "data:")):
            self.problems.append(f"a request to {response.url}")
        elif response.status >= 400 and not is_page:
            self.problems.append(f"{response.status} for {response.url}")

    def forgive(self, words: str) -> None:
        """Take the problems with these words for none. There have to be some."""
        others = [problem for problem in self.problems if words not in problem]
        assert others != self.problems
        self.problems = others

    def open(self, path: str) -> Response:
        response = self.page.goto(path)
        assert response is not None
        return response

    def log_in(self, name: str) -> None:
        """Log in without a page, which is faster, and look at the first."""
        login, request = f"{self.site}/login/", self.context.request
        request.get(login)
        token = self.cookies()["csrftoken"]
        fields = {"username": name, "password": name, "csrfmiddlewaretoken": token}
        reply = request.post(login, form={**fields, "next": "/data/"})
        assert reply.json()["user"] == name

    def user(self) -> str | None:
        """Return who is logged in here, without a click in the page."""
        user: str | None = self.context.request.get("/data/").json()["user"]
        return user

    def cookies(self) -> dict[str, str]:
        return {cookie["name"]: cookie["value"] for cookie in self.context.cookies()}

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)
