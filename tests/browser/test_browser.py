"""What people see of it: the demo site in Chromium, on a server of its own."""

import pytest
from playwright.sync_api import expect

from .. import servers

DEVICES = "/account/sessions/"
LIST = "/admin/django_valkey_sessions/session/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1"
)
PHONE = {"width": 360, "height": 640}


@pytest.fixture
def desk(visitor):
    """Ada's browser."""
    desk = visitor(user_agent=FIREFOX)
    desk.log_in("ada")
    return desk


@pytest.fixture
def phone(visitor):
    """Ada's other browser."""
    phone = visitor(user_agent=IPHONE, viewport=PHONE)
    phone.log_in("ada")
    return phone


@pytest.fixture
def root(visitor):
    """Who may do everything."""
    root = visitor()
    root.log_in("demo")
    return root


# The page with one's own sessions.


def test_who_is_ended_by_the_other_browser_is_logged_out_at_the_next_click(desk, phone):
    phone.open("/stored/")
    expect(phone.button("Log out")).to_be_visible()
    desk.open(DEVICES)
    expect(desk.page.get_by_role("row")).to_have_count(3)
    expect(desk.page.get_by_role("row", name="Firefox 144")).to_contain_text(
        "This browser"
    )
    desk.button("End session Mobile Safari 26, iOS").click()
    expect(desk.page.get_by_text("The session was ended.")).to_be_visible()
    expect(desk.page.get_by_role("row")).to_have_count(2)
    phone.page.get_by_role("link", name="Session", exact=True).click()
    expect(phone.page.get_by_role("link", name="Log in")).to_be_visible()
    assert (phone.user(), desk.user()) == (None, "ada")


def test_all_other_sessions_are_ended_at_once(desk, phone, visitor):
    third = visitor()
    third.log_in("ada")
    desk.open(DEVICES)
    desk.button("End all other sessions").click()
    expect(desk.page.get_by_text("2 other sessions were ended.")).to_be_visible()
    assert [desk.user(), phone.user(), third.user()] == ["ada", None, None]


def test_the_session_of_somebody_else_is_neither_shown_nor_ended(desk, phone, visitor):
    bob = visitor(user_agent=IPHONE)
    bob.log_in("bob")
    bob.open(DEVICES)
    id = bob.button("Log out Mobile Safari 26, iOS").get_attribute("value")
    desk.open(DEVICES)
    assert id not in desk.page.content()
    button = desk.button("End session Mobile Safari 26, iOS")
    button.evaluate("(button, id) => { button.value = id }", id)
    button.click()
    expect(desk.page.get_by_text("That session had ended already.")).to_be_visible()
    assert (bob.user(), phone.user()) == ("bob", "ada")


def test_the_own_session_is_ended_by_logging_out(desk):
    old = desk.cookies()["sessionid"]
    desk.open(DEVICES)
    desk.button("Log out Firefox 144, Linux").click()
    desk.page.wait_for_url("/login/")
    assert "sessionid" not in desk.cookies()
    desk.context.add_cookies([{"name": "sessionid", "value": old, "url": desk.site}])
    assert desk.user() is None


# The admin.


def listed(visitor):
    return visitor.page.locator("#result_list tbody tr")


def search(visitor, text):
    visitor.page.locator("#searchbar").fill(text)
    visitor.page.locator("#changelist-search [type=submit]").click()


def test_sessions_are_found_and_looked_at_in_the_admin(root, desk, visitor):
    visit = visitor()
    visit.open("/")
    visit.button("Count").click()
    root.open("/admin/")
    root.page.locator("#content").get_by_role(
        "link", name="Sessions", exact=True
    ).click()
    expect(listed(root)).to_have_count(3)
    root.page.get_by_role("link", name="Anonymous").click()
    expect(listed(root)).to_have_count(1)
    root.open(LIST)
    search(root, "ada")
    expect(listed(root)).to_have_count(1)
    expect(listed(root)).to_contain_text("Firefox 144, Linux")
    listed(root).get_by_role("link").click()
    expect(root.page.locator("#content")).to_contain_text(FIREFOX)
    expect(root.page.locator("#content")).to_contain_text("127.0.0.0/24")
    device = root.page.locator("#content").get_by_role("row", name="_device")
    expect(device).not_to_contain_text("Gecko")
    root.button("Show values").click()
    expect(device).to_contain_text("Gecko")
    user = root.page.locator("#content").get_by_role("row", name="_auth_user_hash")
    expect(user).to_contain_text("'********************'")
    root.page.get_by_role("link", name="History").click()
    expect(root.page.get_by_text("Looked at what it holds.")).to_be_visible()


def test_sessions_are_ended_in_the_admin(root, desk, phone, visitor):
    bob = visitor()
    bob.log_in("bob")
    root.open(LIST)
    listed(root).filter(has_text="iOS").get_by_role("checkbox").check()
    root.page.get_by_label("Action:").select_option("End selected sessions")
    root.page.locator("[name=index]").click()
    expect(root.page.get_by_text("Whoever uses one of these")).to_be_visible()
    root.page.get_by_text("No, take me back").click()
    root.page.wait_for_url(LIST)
    assert phone.user() == "ada"

    # Anew, because Chromium checks again what was checked before, by its place.
    root.open(LIST)
    listed(root).filter(has_text="iOS").get_by_role("checkbox").check()
    root.page.get_by_label("Action:").select_option("End selected sessions")
    root.page.locator("[name=index]").click()
    root.page.locator("[type=submit][value^=Yes]").click()
    expect(root.page.get_by_text("1 session ended.")).to_be_visible()
    assert [phone.user(), desk.user(), bob.user()] == [None, "ada", "bob"]

    phone.log_in("ada")
    search(root, "ada")
    root.page.get_by_role("link", name="End all sessions of ada").click()
    root.page.locator("[type=submit][value^=Yes]").click()
    expect(root.page.get_by_text("2 sessions ended.")).to_be_visible()
    assert [phone.user(), desk.user(), bob.user()] == [None, None, "bob"]
    root.open("/admin/")
    actions = root.page.locator("#recent-actions-module")
    expect(actions.get_by_text("All sessions of ada").first).to_be_visible()


# When the server is down.


@pytest.mark.parametrize(
    ("fail", "recover"), [("kill", "start"), ("pause", "resume")], ids=["down", "hangs"]
)
def test_an_outage_is_a_page_and_logs_nobody_out(desk, own_server, fail, recover):
    cookies = desk.cookies()
    getattr(own_server, fail)()
    try:
        reply = desk.open(DEVICES)
        assert reply.status == 503
        assert reply.header_value("Retry-After") == "5"
        assert reply.header_value("Set-Cookie") is None
        heading = desk.page.get_by_role("heading", level=1)
        expect(heading).to_have_text("Out of order for the moment")
        expect(desk.page.get_by_text("You are not logged out.")).to_be_visible()
    finally:
        getattr(own_server, recover)()
    servers.wait_until(lambda: desk.context.request.get("/data/").ok)
    desk.page.get_by_role("link", name="Try again").click()
    expect(desk.button("Log out")).to_be_visible()
    assert desk.cookies() == cookies
    assert desk.user() == "ada"


# The demo's own pages.


def test_the_demo_shows_what_it_promises(visitor):
    page = (who := visitor()).page
    who.open("/")
    expect(page.get_by_text("There is nothing in it yet")).to_be_visible()
    assert "sessionid" not in who.cookies()

    def row(key):
        return page.locator(".contents tr", has_text=key)

    who.button("Set").click()
    expect(row("colour")).to_contain_text("green")
    for name, visits in (("Count", "1"), ("Count, async", "2")):
        who.button(name).click()
        expect(row("visits")).to_contain_text(visits)
    who.button("Append").click()
    who.button("Append, async").click()
    expect(row("basket")).to_contain_text("items")
    who.button("Both at once").click()
    expect(row("left")).to_be_visible()
    expect(row("right")).to_be_visible()
    expect(page.locator(".costs tbody tr").first).to_contain_text("EVAL")

    key = who.cookies()["sessionid"]
    who.button("Cycle the key").click()
    expect(page.get_by_text("The session has a new key")).to_be_visible()
    assert who.cookies()["sessionid"] not in (None, key)
    expect(row("left")).to_be_visible()

    page.get_by_role("link", name="Stored").click()
    expect(page.locator(".bytes .stamp")).to_be_visible()
    assert "green" not in page.locator(".bytes").inner_text()


def test_who_logs_in_and_out_is_told(visitor):
    page = (who := visitor()).page
    who.open("/")
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("User").fill("ada")
    for password in ("wrong", "ada"):
        page.get_by_label("Password").fill(password)
        who.button("Log in").click()
        wrong = page.get_by_text("User or password is wrong.")
        expect(wrong).to_have_count(int(password == "wrong"))
    expect(page.get_by_text("ada", exact=True)).to_be_visible()
    assert who.user() == "ada"
    who.button("Log out").click()
    expect(page.get_by_role("heading", name="Logged out")).to_be_visible()
    assert who.user() is None


def test_an_api_of_others_counts_in_the_session(visitor, desk):
    page = (guest := visitor()).page
    guest.open("/")
    page.get_by_role("link", name="Django REST framework").click()
    expect(page.get_by_text('"user": null')).to_be_visible()
    expect(guest.button("POST")).to_have_count(0)
    desk.open("/api/session/")
    desk.button("POST").click()
    expect(desk.page.get_by_text('"visits": 1')).to_be_visible()
    expect(desk.page.get_by_text('"user": "ada"')).to_be_visible()
    desk.open("/")
    visits = desk.page.locator(".contents tr", has_text="visits")
    expect(visits).to_contain_text("1")
    for one in (guest, desk):
        one.forgive("inline style")  # Its pages have some, which the policy forbids.


def test_a_login_of_others_keeps_what_is_in_the_session(visitor):
    page = (who := visitor()).page
    who.open("/")
    who.button("Set").click()
    old = who.cookies()["sessionid"]
    page.get_by_role("link", name="django-allauth").click()
    assert page.evaluate(LACKING) == []
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("ada")
    who.button("Sign In").click()
    expect(page.get_by_text("Successfully signed in as ada.")).to_be_visible()
    colour = page.locator(".contents tr", has_text="colour")
    expect(colour).to_contain_text("green")
    assert who.user() == "ada"
    assert who.cookies()["sessionid"] != old


# For everybody.

# What a page looks like does not depend on how it is served.
looks = pytest.mark.parametrize("site", ["uvicorn"], indirect=True)

PAGES = ("/", "/stored/", DEVICES, "/admin/", LIST)

#: What each page has to have, and what it lacks, by this script.
LACKING = """() => {
  const lacking = [];
  if (!document.documentElement.lang) lacking.push("a language");
  if (!document.title.trim()) lacking.push("a title");
  const headings = document.querySelectorAll("h1").length;
  if (headings !== 1) lacking.push(`one h1: it has ${headings}`);
  for (const input of document.querySelectorAll("input, select, textarea, button")) {
    if (input.type === "hidden" || input.hidden) continue;
    const named = input.labels?.length || input.getAttribute("aria-label")
      || input.getAttribute("aria-labelledby") || input.textContent.trim()
      || (input.type === "submit" && input.value);
    if (!named) lacking.push(`a name for ${input.outerHTML}`);
  }
  for (const link of document.querySelectorAll("a"))
    if (!link.getAttribute("href") && !link.closest("[hidden]"))
      lacking.push(`a target for ${link.outerHTML}`);
  for (const table of document.querySelectorAll("table"))
    if (!table.querySelector("th")) lacking.push("headers of a table");
  return lacking;
}"""
#: Whether there is something outside of the window, to the right.
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@looks
def test_every_page_has_names_for_what_is_on_it(root):
    for path in PAGES:
        assert root.open(path).ok
        assert root.page.evaluate(LACKING) == [], path
    listed(root).first.get_by_role("link").click()
    root.page.wait_for_url("**/change/")
    assert root.page.evaluate(LACKING) == []


@looks
def test_every_page_fits_on_a_phone(visitor):
    # In German, whose words are longer.
    phone = visitor(viewport=PHONE, has_touch=True, is_mobile=True, locale="de-DE")
    phone.log_in("demo")
    for path in (*PAGES, "/login/"):
        phone.open(path)
        assert phone.page.evaluate(TOO_WIDE) == 0, path


FOCUSED = """() => {
  const style = getComputedStyle(document.activeElement);
  return document.activeElement.innerText
    + (style.outlineStyle === "none" ? ", not seen" : "");
}"""


def focus_on(visitor, text):
    """Go there by the tabulator key; where it is must be seen at each step."""
    for _ in range(30):
        visitor.page.keyboard.press("Tab")
        focused = visitor.page.evaluate(FOCUSED)
        assert "not seen" not in focused
        if focused == text:
            return
    raise AssertionError(f"The tabulator key does not lead to {text!r}.")


@looks
def test_no_mouse_is_needed(visitor, phone):
    desk = visitor()
    desk.open(DEVICES)
    keyboard = desk.page.keyboard
    keyboard.press("Shift+Tab")
    keyboard.type("ada")
    keyboard.press("Tab")
    keyboard.type("ada")
    keyboard.press("Enter")
    expect(desk.page.get_by_role("heading", name="Your sessions")).to_be_visible()
    focus_on(desk, "End all other sessions")
    keyboard.press("Enter")
    expect(desk.page.get_by_text("1 other session was ended.")).to_be_visible()
    assert phone.user() is None


@looks
def test_who_prefers_german_gets_german(visitor, own_server):
    anna = visitor(locale="de-DE")
    anna.log_in("demo")

    def has(path, heading):
        anna.open(path)
        assert anna.page.get_attribute("html", "lang") == "de"
        expect(anna.page.get_by_role("heading", level=1)).to_have_text(heading)

    has("/", "Ihre Sitzung")
    has("/stored/", "Was Valkey davon hat")
    has(DEVICES, "Ihre Sitzungen")
    expect(anna.page.get_by_text("Dieser Browser")).to_be_visible()
    has(LIST, "Sitzung zum Ansehen auswählen")
    expect(anna.page.get_by_text("Nach Zustand")).to_be_visible()
    own_server.kill()
    try:
        has("/", "Gerade außer Betrieb")
    finally:
        own_server.start()
