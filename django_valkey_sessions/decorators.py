"""Decorators for views."""

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from django.http import HttpRequest

View = TypeVar("View", bound=Callable[..., Any])


def passive(view: View) -> View:
    """
    Let requests of this view not count as activity of the user: they neither touch the
    session nor renew its cookie, and a change that they make to it is saved, but leaves
    its expiry as it is. For pages that ask by themselves, such as a poll for news.

    Needs this package's SessionMiddleware. For the views of a class, as with all of
    Django's: ``@method_decorator(passive, name="dispatch")``.
    """
    if iscoroutinefunction(view):

        @wraps(view)
        async def awrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            _mark(request)
            return await cast(Awaitable[Any], view(request, *args, **kwargs))

        return cast(View, awrapped)

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        _mark(request)
        return view(request, *args, **kwargs)

    return cast(View, wrapped)


def _mark(request: HttpRequest) -> None:
    if not hasattr(request, "META"):
        raise TypeError(
            "@passive did not get a request. For a method, use "
            "@method_decorator(passive)."
        )
    session = getattr(request, "session", None)
    if session is not None:  # A test of a view has no middleware.
        session.passive = True
