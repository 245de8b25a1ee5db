from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.core import checks

from . import devices
from .checks import check_deployment, check_settings


class ValkeySessionsConfig(AppConfig):
    name = "django_valkey_sessions"
    verbose_name = "Valkey sessions"

    def ready(self) -> None:
        # Nothing here may talk to Valkey: a command before a fork breaks GLIDE's
        # time-outs in the children.
        checks.register(check_settings)
        checks.register(check_deployment, checks.Tags.security, deploy=True)
        user_logged_in.connect(devices.record, dispatch_uid="django_valkey_sessions")
