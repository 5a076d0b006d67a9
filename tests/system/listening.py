"""What processes listen on, as ``/proc`` tells it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_LISTENS = "0A"
# Flags of a Unix socket that listens (include/uapi/linux/net.h: __SO_ACCEPTCON).
_ACCEPTS = 0x10000


def tcp_addresses(pids: Collection[int]) -> set[str]:
    """Return every TCP address, HOST:PORT, that one of the processes listens on."""
    inodes = _sockets(pids)
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == _LISTENS and inode in inodes:
                found.add(_address(local))
    return found


def unix_paths(pids: Collection[int]) -> set[str]:
    """Return the path of every Unix socket that one of the processes listens on; an abstract one begins with ``@``."""
    inodes = _sockets(pids)
    found = set()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        _, _, _, flags, _, _, inode, *path = line.split(maxsplit=7)
        if int(flags, 16) & _ACCEPTS and inode in inodes:
            found.add(path[0] if path else "")
    return found


def udp_sockets(pids: Collection[int]) -> set[str]:
    """Return every UDP address that one of the processes is bound to."""
    inodes = _sockets(pids)
    lines = [
        line.split() for name in ("udp", "udp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {_address(line[1]) for line in lines if line[9] in inodes}


def _sockets(pids: Collection[int]) -> set[str]:
    inodes = set()
    for pid in pids:
        with suppress(OSError):  # it ended meanwhile
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    target = os.readlink(entry)
                    if target.startswith("socket:["):
                        inodes.add(target[len("socket:[") : -1])
    return inodes


def _address(written: str) -> str:
    """Return an address of ``/proc/net``: hexadecimal words in the byte order of this machine, and the port."""
    host, _, port = written.partition(":")
    packed = b"".join(bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8))
    address = ipaddress.ip_address(packed)
    return f"[{address}]:{int(port, 16)}" if address.version == 6 else f"{address}:{int(port, 16)}"
