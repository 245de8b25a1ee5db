"""The demo site, served as sites are."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from demo.children import Child
from demo.ports import HOST, answers

from .waiting import free_port, wait_until

ROOT = Path(__file__).parent.parent.parent

#: The ways in which sites are served.
APPLICATION_SERVERS = {
    "gunicorn": "gunicorn --preload --workers 2 --bind {bind} testproject.wsgi",
    "gthread": "gunicorn --worker-class gthread --threads 8 --bind {bind} "
    "testproject.wsgi",
    "uvicorn": "uvicorn --host {host} --port {port} --lifespan off --log-level warning "
    "{application}",
    # The application is made before the fork, and threads run in each child.
    "uwsgi": "uwsgi --http-socket {bind} --module testproject.wsgi --master "
    "--processes 2 --threads 4 --die-on-term --need-app --disable-logging",
}


@contextlib.contextmanager
def serving(
    kind: str,
    data: Path,
    application: str = "testproject.asgi:application",
    **environment: str,
) -> Iterator[int]:
    """Serve the demo site in this way, by ASGI as this application; yield its port."""
    port = free_port()
    command = APPLICATION_SERVERS[kind].format(
        bind=f"{HOST}:{port}", host=HOST, port=port, application=application
    )
    program, *words = command.split()
    child = Child(
        [str(Path(sys.executable).with_name(program)), *words],
        cwd=ROOT / "testproject",
        env=site_environment(data, **environment),
    )
    try:
        wait_until(lambda: child.ended() or answers(HOST, port))
        yield port
    finally:
        child.stop()


def site_environment(data: Path, **environment: str) -> dict[str, str]:
    inherited = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, inherited)),
        # Development mode slows the site down and prints what others do wrong.
        "PYTHONDEVMODE": "",
        "DJANGO_SETTINGS_MODULE": "testproject.settings",
        "DEMO_DATA": str(data),
        "DEMO_DEBUG": "0",
        **environment,
    }
