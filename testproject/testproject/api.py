"""What an API sees of the session. Needs Django REST framework."""

from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAuthenticatedOrReadOnly
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class Visits(APIView):  # type: ignore[misc]
    """Who you are, and how often you have counted. Once logged in, POST counts."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAuthenticatedOrReadOnly,)

    def get(self, request: Request) -> Response:
        return self._seen(request)

    def post(self, request: Request) -> Response:
        session = request.session
        session["visits"] = session.get("visits", 0) + 1
        return self._seen(request)

    def _seen(self, request: Request) -> Response:
        user = request.user.get_username() or None
        return Response({"user": user, "visits": request.session.get("visits", 0)})
