from typing import Any

from django.urls import include, path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from testproject.urls import urlpatterns as demo


class Cart(APIView):
    """What is in the cart, which is kept in the session."""

    def get(self, request: Request) -> Response:
        return Response(request.session.get("cart", []))

    def post(self, request: Request) -> Response:
        cart: list[Any] = request.session.setdefault("cart", [])
        cart.append(request.data["item"])
        request.session.modified = True
        return Response(cart, status=201)


urlpatterns = [
    path("api/cart/", Cart.as_view()),
    path("api-auth/", include("rest_framework.urls")),
    *demo,
]
