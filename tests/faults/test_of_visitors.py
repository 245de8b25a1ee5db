"""What visitors can do to a site: see test_of_the_server.py."""

import http.client
from urllib.parse import urlencode

import pytest
from demo.ports import HOST

from .load import logged_in

#: Seconds after which a visitor is gone; a save is on its way in some of these.
PATIENCE = [number / 1000 for number in range(1, 41)]


@pytest.fixture(scope="module")
def way():
    """Django cancels a request whose visitor is gone, where it is served by a loop."""
    return "uvicorn"


def test_they_leave_while_their_session_is_saved(site, visited):
    visitor = logged_in(site)
    with visited(site) as load:
        answered = [changes(site, visitor, patience) for patience in PATIENCE]
        assert visitor.get("/data/").json()["user"] == "demo"
    assert False in answered
    assert load.errors() == {}


def changes(port, visitor, patience):
    """Change the session; return False if the visitor leaves before the answer."""
    token = visitor.cookies["csrftoken"]
    body = urlencode({"csrfmiddlewaretoken": token, "value": str(patience)})
    headers = {
        "Cookie": "; ".join(
            f"{name}={visitor.cookies[name]}" for name in visitor.cookies
        ),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    connection = http.client.HTTPConnection(HOST, port, timeout=patience)
    try:
        connection.request("POST", "/aset/left/", body, headers)
        return connection.getresponse().status == 302
    except TimeoutError:
        return False
    finally:
        connection.close()
