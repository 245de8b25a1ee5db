"""Django REST framework's SessionAuthentication, over HTTP."""

import re

import pytest
import requests

from django_valkey_sessions import keys, sessions

from .conftest import stopped


@pytest.fixture
def api(site):
    """Somebody who has logged in by the form of the browsable API."""
    with requests.Session() as api:
        login = f"{site.url}/api-auth/login/"
        page = api.get(login, params={"next": "/api/cart/"})
        (token,) = re.findall('csrfmiddlewaretoken" value="(.+?)"', page.text)
        fields = {"username": "demo", "password": "demo", "csrfmiddlewaretoken": token}
        page = api.post(login, fields, params={"next": "/api/cart/"})
        assert page.url == f"{site.url}/api/cart/", page.text
        api.headers["Accept"] = "application/json"
        yield api


def put(site, api, item, token=None):
    headers = {} if token is None else {"X-CSRFToken": token}
    return api.post(f"{site.url}/api/cart/", json={"item": item}, headers=headers)


def cart(site, api):
    return api.get(f"{site.url}/api/cart/")


def test_who_is_logged_in_may_use_the_api(site, api):
    replies = [put(site, api, item, api.cookies["csrftoken"]) for item in "ab"]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert cart(site, api).json() == ["a", "b"]


def test_the_browsable_api_shows_who_that_is(site, api):
    page = api.get(f"{site.url}/api/cart/", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert re.search(r"dropdown-toggle[^>]*>\s*demo", page.text)


@pytest.mark.parametrize("token", [None, "c" * 32])
def test_without_the_right_token_nothing_is_changed(site, api, token):
    reply = put(site, api, "a", token)
    assert (reply.status_code, "CSRF Failed" in reply.text) == (403, True)
    assert cart(site, api).json() == []


def test_who_is_logged_out_elsewhere_is_refused(site, api):
    assert sessions.revoke(keys.session_id(api.cookies["sessionid"]))
    for reply in (cart(site, api), put(site, api, "a", api.cookies["csrftoken"])):
        assert reply.status_code == 403
        assert "credentials were not provided" in reply.text


def test_an_outage_is_no_refusal(site, api):
    """An application that is told 401 or 403 sends its user to the login."""
    token, cookie = api.cookies["csrftoken"], api.cookies["sessionid"]
    put(site, api, "a", token)
    with stopped(site):
        for reply in (cart(site, api), put(site, api, "b", token)):
            assert reply.status_code == 503
            assert reply.headers["Content-Type"].startswith("application/json")
            assert int(reply.headers["Retry-After"]) > 0
    assert api.cookies["sessionid"] == cookie
