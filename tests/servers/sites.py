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

#: The ways in which sites are served, each as the words after ``python -m``.
APPLICATION_SERVERS = {
    "gunicorn": "gunicorn --preload --workers 2 --bind {bind} testproject.wsgi",
    "gthread": "gunicorn --worker-class gthread --threads 8 --bind {bind} "
    "testproject.wsgi",
    "uvicorn": "uvicorn --host {host} --port {port} --lifespan off --log-level warning "
    "testproject.asgi:application",
}


@contextlib.contextmanager
def serving(kind: str, data: Path, **environment: str) -> Iterator[int]:
    """Serve the demo site in this way; yield its port."""
    port = free_port()
    words = APPLICATION_SERVERS[kind].format(
        bind=f"{HOST}:{port}", host=HOST, port=port
    )
    child = Child(
        [sys.executable, "-m", *words.split()],
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
