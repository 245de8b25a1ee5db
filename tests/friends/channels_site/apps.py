from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "tests.friends.channels_site"

    def ready(self) -> None:
        # So that manage.py, too, tells the consumers at once what it ends.
        from . import consumers  # noqa: F401
