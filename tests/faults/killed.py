"""A middleware that ends its process where nobody would choose to."""

import os
import signal
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from django_valkey_sessions import client
from django_valkey_sessions.client.delivery import HARMLESS
from django_valkey_sessions.flow import Trip

GetResponse = Callable[[HttpRequest], HttpResponse]


def after_one_change(get_response: GetResponse) -> GetResponse:
    """
    Kill the process that answers a request with ?killed, as soon as the server has
    changed something for it. It has to answer one request at a time.
    """

    def respond(request: HttpRequest) -> HttpResponse:
        if "killed" in request.GET:
            client.execute = _ending_after_a_change(client.execute)
        return get_response(request)

    return respond


def _ending_after_a_change(
    execute: Callable[[Trip], object],
) -> Callable[[Trip], object]:
    def execute_and_end(trip: Trip) -> object:
        reply = execute(trip)
        commands = trip if isinstance(trip, tuple) else (trip,)
        if any(command[0] not in HARMLESS for command in commands):
            os.kill(os.getpid(), signal.SIGKILL)
        return reply

    return execute_and_end
