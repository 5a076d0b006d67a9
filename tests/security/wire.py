"""Raw requests, written byte by byte: what no client library would send has to be refused as well."""

from __future__ import annotations

import asyncio
import itertools
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

# Each request of a test comes from an address of its own: wrong credentials of one address are soon told to wait.
_SOURCES = itertools.count(1)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO", "get")
_ANSWER_BYTES = 2**20
_LENGTH = re.compile(rb"^content-length: (\d+)", re.MULTILINE | re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass(frozen=True)
class Reply:
    """An answer; a status of 0 is a connection that was closed without one."""

    status: int
    head: str = ""
    body: bytes = b""

    @property
    def reason(self) -> str:
        """Why it was refused, as the head says."""
        found = re.search(r"^penstock-reason: (\S+)", self.head, re.MULTILINE | re.IGNORECASE)
        return found[1] if found else ""


async def send(url: str, request: bytes, source: str = "127.0.0.1") -> Reply:
    """Send these bytes on a connection of their own, and take the answer up to its end."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, local_addr=(source, 0))
    try:
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(_ANSWER_BYTES), 10)
        while answer and not _is_whole(answer, request):
            more = await asyncio.wait_for(reader.read(_ANSWER_BYTES), 10)
            if not more:
                break
            answer += more
    except ConnectionError:
        return Reply(0)
    finally:
        writer.transport.abort()
    return read_reply(answer)


def _is_whole(answer: bytes, request: bytes) -> bool:
    """Whether an answer has its head and, where that tells its length, its body."""
    head, end, body = answer.partition(b"\r\n\r\n")
    told = _LENGTH.search(head)
    return bool(end) and (told is None or request.startswith(b"HEAD") or len(body) >= int(told[1]))


def new_source() -> str:
    """Return an address of this machine that has sent nothing yet."""
    number = next(_SOURCES)
    return f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def read_reply(answer: bytes) -> Reply:
    """Return the first answer in these bytes."""
    found = _STATUS.match(answer)
    head, _, body = answer.partition(b"\r\n\r\n")
    return Reply(int(found[1]), head.decode("latin-1"), body) if found else Reply(0)


def request(method: str, target: str, key: str = "", host: str = "127.0.0.1", *fields: str) -> bytes:
    """Return a request that says that it is the connection's last; one that changes things has an empty JSON object."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *fields]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    body = b"{}" if method in ("POST", "PUT", "PATCH", "DELETE") else b""
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def variants(path: str) -> list[str]:
    """Return other spellings of a path, none of which may be less protected than the path itself."""
    first, rest = path[1:2], path[2:]
    return [
        f"/{path}",
        f"/.{path}",
        f"/x/..{path}",
        f"/livez/..{path}",
        f"/livez/../..{path}",
        f"/livez;{path}",
        f"/livez%2f..{path}",
        f"/livez?{path}",
        f"{path};x",
        f"{path};/livez",
        f"{path}/",
        f"{path}//",
        f"{path}/.",
        f"{path}?x=/livez",
        f"{path}#/livez",
        f"{path}%00",
        f"{path}%20",
        f"{path}%2f",
        f"/%{ord(first):02x}{rest}",
        f"/{path[1:].replace('/', '%2f')}",
        f"/{path[1:].replace('/', '%252f')}",
        f"/{path[1:].replace('/', '//')}",
        path.upper(),
        path.replace("/", "\\"),
        f"http://127.0.0.1{path}",
        f"http://evil.example{path}",
        f"//127.0.0.1{path}",
        f"//evil.example{path}",
        path[1:],
        "*",
    ]
