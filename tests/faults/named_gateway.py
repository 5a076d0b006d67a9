"""The gateway with a name server that a test plays: ``python -m tests.faults.named_gateway FILE`` and its own options.

The file says for each name which addresses it has now; none is a name that does not exist. Its ``wait_s`` is how long
every answer takes. All other names, and addresses, go to the system's resolver.
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gateway.control.__main__ import main

_ask_system = socket.getaddrinfo


class Names(Struct, frozen=True):
    """What the name server knows."""

    addresses: dict[str, list[str]]
    wait_s: float = 0.0


def tell(path: Path, names: Names) -> None:
    """Let the name server know this from now on."""
    written = path.with_suffix(".new")
    written.write_bytes(msgspec.json.encode(names))
    written.replace(path)


def install(path: Path) -> None:
    """Ask the file in place of a name server."""

    def ask(host: Any, port: Any, *others: Any, **more: Any) -> Any:
        names = msgspec.json.decode(path.read_bytes(), type=Names)
        if host not in names.addresses:
            return _ask_system(host, port, *others, **more)
        time.sleep(names.wait_s)
        addresses = names.addresses[host]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [found for address in addresses for found in _ask_system(address, port, *others, **more)]

    socket.getaddrinfo = ask


if __name__ == "__main__":
    install(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
