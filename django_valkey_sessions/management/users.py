"""Whom the operator means."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management.base import CommandError
from django.db import DatabaseError


def user_id(text: str) -> str:
    """
    Return the id, as sessions have it, of the user whose id or name this is. An id
    need not be that of a user who still exists. Raise CommandError if it is neither,
    or both of different users.
    """
    try:
        model: Any = get_user_model()
    except ImproperlyConfigured:
        return text  # A site without users of Django's.
    as_id = _as_id(model, text)
    try:
        named = model._default_manager.filter(**{model.USERNAME_FIELD: text}).first()
        taken = as_id and model._default_manager.filter(pk=as_id).exists()
    except DatabaseError as error:
        raise CommandError(f"The users can't be looked up: {error}") from error
    if named is None and as_id is None:
        raise CommandError(f"{text!r} is neither the id nor the name of a user.")
    if named is None:
        return str(as_id)
    name_is_of = _text(model, named)
    if taken and as_id != name_is_of:
        raise CommandError(
            f"{text!r} is the id of one user and the name of another. Give the name of "
            f"the first, or the id of the second, which is {name_is_of!r}."
        )
    return name_is_of


def _as_id(model: Any, text: str) -> str | None:
    try:
        return _text(model, model(pk=model._meta.pk.to_python(text)))
    except ValidationError:
        return None


def _text(model: Any, user: Any) -> str:
    return str(model._meta.pk.value_to_string(user))
