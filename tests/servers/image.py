"""
Make an image of the servers of this machine, for an engine that can get none: the
embedded Valkey, and redis-server if it is there, because that has TLS.

    python -m tests.servers.image NAME

It has nothing of the official image but the name of the program. It is no stand-in for
trying that one.
"""

import io
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
from demo.server import find_binary

FOLDERS = {"data": 0o777, "tmp": 0o1777}
SETTINGS = ["ENV PATH=/usr/local/bin", "WORKDIR /data", "EXPOSE 6379"]


def main(name: str) -> None:
    repository, _, tag = name.partition(":")
    client = docker.from_env()
    try:
        client.api.import_image_from_data(
            archive(), repository=repository, tag=tag, changes=SETTINGS
        )
    finally:
        client.close()


def archive() -> bytes:
    """Return the root of a machine that can run the servers, and nothing else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in FOLDERS.items():
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, mode
            tar.addfile(member)
        for name, path in dict(_files()).items():
            content = path.read_bytes()
            member = tarfile.TarInfo(name.removeprefix("/"))
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _files() -> Iterator[tuple[str, Path]]:
    """Yield the programs and their libraries: where they belong, and where they are."""
    programs = {"valkey-server": find_binary(), "redis-server": None}
    for name in programs:
        binary = programs[name] or shutil.which(name)
        if binary is not None:
            yield f"/usr/local/bin/{name}", Path(binary).resolve()
            for library in _libraries(binary):
                yield library, Path(library).resolve()


def _libraries(binary: str) -> list[str]:
    """Return what the program is linked with; nothing if that is nothing."""
    said = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", said)


if __name__ == "__main__":
    main(sys.argv[1])
