"""Archives that must be refused, each with the code of its refusal; all are made in memory and small."""

from __future__ import annotations

import gzip
import io
import json
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.archives.layout import archive_files, pack_mar, pack_tar


@dataclass(frozen=True)
class RawEntry:
    """One zip entry, byte by byte; None means the truth.

    Attributes:
        local_name: what the local header calls it.
        header_at: where the directory says the local header lies.
        local: whether a local header and data are written at all.
    """

    name: bytes
    content: bytes = b"x"
    method: int = 0
    flags: int = 0
    mode: int = stat.S_IFREG | 0o644
    size: int | None = None
    packed_size: int | None = None
    crc: int | None = None
    local_name: bytes | None = None
    header_at: int | None = None
    local: bool = True
    extra: bytes = b""


def raw_zip(*entries: RawEntry, prefix: bytes = b"", suffix: bytes = b"", gap: bytes = b"", count: int = -1) -> bytes:
    """Return a zip with whatever lies its entries tell."""
    body, directory = bytearray(prefix), bytearray()
    for entry in entries:
        packed = _deflate(entry.content) if entry.method == 8 else entry.content
        size = len(entry.content) if entry.size is None else entry.size
        packed_size = len(packed) if entry.packed_size is None else entry.packed_size
        crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
        facts = (20, entry.flags, entry.method, 0, 33, crc, packed_size, size)
        header_at = len(body) if entry.header_at is None else entry.header_at
        if entry.local:
            local_name = entry.name if entry.local_name is None else entry.local_name
            body += struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", *facts, len(local_name), 0) + local_name + packed
        lengths = (len(entry.name), len(entry.extra), 0, 0, 0, entry.mode << 16, header_at)
        directory += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 0x0314, *facts, *lengths)
        directory += entry.name + entry.extra
    body += gap
    total = len(entries) if count < 0 else count
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, total, total, len(directory), len(body), 0)
    return bytes(body + directory) + end + suffix


def overlapping_zip(entry_count: int = 50, kernel_bytes: int = 2**20) -> bytes:
    """Return a zip whose directory names one packed kernel many times (CVE-2024-0450's shape)."""
    kernel = RawEntry(b"w0.pt", bytes(kernel_bytes), method=8)
    again = [
        RawEntry(b"w%d.pt" % index, bytes(kernel_bytes), method=8, header_at=0, local=False)
        for index in range(1, entry_count)
    ]
    return raw_zip(kernel, *again)


def raw_tar(*members: tuple[tarfile.TarInfo, bytes], format_: int = tarfile.GNU_FORMAT) -> bytes:
    """Return a gzipped tar of the given members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=format_) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    """Return the header of one tar member."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, mode
    return member


def _deflate(content: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush()


def _named(*names: str) -> Callable[[], bytes]:
    return lambda: raw_zip(*(RawEntry(name.encode()) for name in names))


def _one(**lies: object) -> Callable[[], bytes]:
    return lambda: raw_zip(RawEntry(**{"name": b"handler.py", **lies}))  # type: ignore[arg-type]


def _with(name: str, content: bytes = b"x") -> Callable[[], bytes]:
    return lambda: pack_mar({**archive_files(), name: content})


def _tar(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> Callable[[], bytes]:
    content = b"x" if kind == tarfile.REGTYPE else b""
    return lambda: raw_tar((tar_member("echo/handler.py"), b"x"), (tar_member(name, kind, link, mode), content))


def _manifest(content: object) -> Callable[[], bytes]:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda: pack_mar({**archive_files(), "MAR-INF/MANIFEST.json": text}, zipfile.ZIP_STORED)


def _handler(handler: str) -> Callable[[], bytes]:
    return _manifest({"runtime": "python", "model": {"modelName": "m", "handler": handler}})


def _config(text: str) -> Callable[[], bytes]:
    return lambda: pack_mar(archive_files(config=text), zipfile.ZIP_STORED)


def _damaged_tar_header() -> bytes:
    plain = bytearray(gzip.decompress(raw_tar((tar_member("a/handler.py"), b"x"))))
    plain[0] ^= 1
    return gzip.compress(bytes(plain))


def _corrupt_deflate() -> bytes:
    good = bytearray(raw_zip(RawEntry(b"handler.py", b"abc" * 50, method=8)))
    good[40] = 0xFF
    good[41:44] = b"\xff\xff\xff"
    return bytes(good)


_ZIP64_SIZE = struct.pack("<HHQ", 1, 8, 4)

HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a name that climbs out": ("unsafe_name", _named("../x")),
    "a name that climbs out from below": ("unsafe_name", _named("a/../../x")),
    "a name in a sibling with the same prefix": ("unsafe_name", _named("../model-evil/x")),
    "an absolute name": ("unsafe_name", _named("/etc/x")),
    "a name with a backslash": ("unsafe_name", _named("a\\..\\x")),
    "a name with a drive": ("unsafe_name", _named("C:x")),
    "a name with NUL": ("unsafe_name", _named("handler.py\0.txt")),
    "a name with a newline": ("unsafe_name", _named("a\nb")),
    "an empty name": ("unsafe_name", _named("")),
    "a name with an empty part": ("unsafe_name", _named("a//b")),
    "a name with a dot part": ("unsafe_name", _named("a/./b")),
    "a hidden name": ("unsafe_name", _named(".bashrc")),
    "a name with a trailing dot": ("unsafe_name", _named("a./b")),
    "a name with a trailing space": ("unsafe_name", _named("a /b")),
    "a name outside ASCII": ("unsafe_name", _named("caf\u00e9.py")),
    "a name part that is too long": ("unsafe_name", _named("a" * 256)),
    "a name that is too long": ("unsafe_name", _named("/".join(["a" * 200] * 6))),
    "a name twice": ("duplicate_name", _named("a.py", "a.py")),
    "a name twice but for case": ("duplicate_name", _named("a.py", "A.py")),
    "a file, then below it": ("name_clash", _named("a", "a/b")),
    "a directory, then a file of its name": ("name_clash", _named("a/b", "a")),
    "a symbolic link": ("not_a_file", _one(mode=stat.S_IFLNK | 0o777, content=b"/etc/passwd")),
    "a device": ("not_a_file", _one(mode=stat.S_IFCHR | 0o666)),
    "a FIFO": ("not_a_file", _one(mode=stat.S_IFIFO | 0o666)),
    "a directory with content": ("not_a_file", _one(name=b"a/", mode=stat.S_IFDIR | 0o755)),
    "a set-user-id file": ("special_mode", _one(mode=stat.S_IFREG | 0o4755)),
    "overlapping entries": ("overlapping_entries", overlapping_zip),
    "entries that run into the directory": ("overlapping_entries", _one(size=10, packed_size=10)),
    "a text file that expands 1000 times": ("ratio_too_high", _one(content=bytes(2**20), method=8)),
    "too many entries": ("too_many_entries", lambda: raw_zip(count=10_001)),
    "4 GiB declared, one KiB real": (
        "size_mismatch",
        _one(name=b"w.pt", content=bytes(1024), method=8, size=2**32 - 2),
    ),
    "64 MiB of text declared": ("too_large", _one(content=b"x", method=8, size=2**27)),
    "more real than declared": ("size_mismatch", _one(content=b"abcdef" * 9, method=8, size=3)),
    "stored with two sizes": ("size_mismatch", _one(content=b"abc", size=2)),
    "a wrong checksum": ("bad_checksum", _one(crc=1)),
    "an encrypted entry": ("encrypted", _one(flags=1)),
    "strong encryption": ("encrypted", _one(flags=1 << 6)),
    "an unknown compression": ("method_not_supported", _one(method=14)),
    "a 64-bit size where none is due": ("headers_disagree", _one(extra=_ZIP64_SIZE)),
    "a 64-bit size that is missing": ("corrupt", _one(size=2**32 - 1)),
    "two names for one entry": ("headers_disagree", _one(local_name=b"handler.px")),
    "a directory that declares too few entries": ("headers_disagree", lambda: raw_zip(RawEntry(b"a"), count=0)),
    "a directory that declares too many entries": ("corrupt", lambda: raw_zip(RawEntry(b"a"), count=2)),
    "bytes before the zip": ("not_an_archive", lambda: raw_zip(RawEntry(b"a"), prefix=b"#!/bin/sh\n")),
    "a second zip before the zip": ("hidden_data", lambda: raw_zip(RawEntry(b"a"), prefix=raw_zip(RawEntry(b"b")))),
    "bytes after the zip": ("hidden_data", lambda: raw_zip(RawEntry(b"a"), suffix=b"tail")),
    "bytes between entries and directory": ("hidden_data", lambda: raw_zip(RawEntry(b"a"), gap=b"hidden")),
    "a zip cut short": ("hidden_data", lambda: pack_mar(archive_files())[:-30]),
    "an empty zip": ("empty", raw_zip),
    "an empty file": ("not_an_archive", bytes),
    "text": ("not_an_archive", lambda: b"not an archive at all"),
    "deflate that is no deflate": ("corrupt", _corrupt_deflate),
    "a .pth that is no checkpoint": ("reserved_name", _with("evil.pth", b"import os; os.system('x')\n")),
    "sitecustomize": ("reserved_name", _with("sitecustomize.py")),
    "usercustomize below a directory": ("reserved_name", _with("a/UserCustomize.py")),
    "bytecode": ("reserved_name", _with("__pycache__/handler.cpython-311.pyc")),
    "a package that hides torch": ("shadowing_name", _with("torch/__init__.py")),
    "a module that hides ts": ("shadowing_name", _with("ts.py")),
    "a manifest that is no JSON": ("bad_manifest", _manifest(b"{")),
    "a manifest that is no object": ("bad_manifest", _manifest([1])),
    "a manifest without a model": ("bad_manifest", _manifest({})),
    "a manifest that is nested too deep": ("bad_manifest", _manifest(b'{"model":{"x":' + b"[" * 100_000)),
    "a manifest that is a little too deep": ("bad_manifest", _manifest(b'{"model":' + b"[" * 40 + b"]" * 40 + b"}")),
    "a manifest that is too large": ("manifest_too_large", _manifest({"model": {}, "pad": "x" * 2**20})),
    "a runtime that is not Python": ("runtime_not_supported", _manifest({"runtime": "LSP", "model": {}})),
    "a handler outside the archive": ("bad_handler", _handler("../handler.py")),
    "an absolute handler": ("bad_handler", _handler("/tmp/handler.py:handle")),
    "a handler whose function is code": ("bad_handler", _handler("handler.py:handle;import os")),
    "a handler with two functions": ("bad_handler", _handler("handler.py:a:b")),
    "weights outside the archive": ("bad_manifest", _manifest({"model": {"serializedFile": "../../w.pt"}})),
    "a config with an alias": ("bad_config", _config("a: &a [1]\nb: *a\n")),
    "a config with a Python tag": ("bad_config", _config("a: !!python/object/apply:os.system [x]\n")),
    "a config that is a list": ("bad_config", _config("- 1\n")),
    "a config that is nested too deep": ("bad_config", _config("a: " + "[" * 20_000)),
    "a config that is too large": ("config_too_large", _config("#" * 2**17)),
    "a signature with a wrong shape": (
        "bad_signature",
        _config("signature: {inputs: [{name: x, datatype: FP32, shape: [0]}]}"),
    ),
    "a tar with a climbing name": ("unsafe_name", _tar("echo/../../x")),
    "a tar with an absolute name": ("unsafe_name", _tar("/etc/x")),
    "a tar with a symbolic link": ("not_a_file", _tar("echo/link", tarfile.SYMTYPE, "/etc")),
    "a tar with a hard link": ("not_a_file", _tar("echo/link", tarfile.LNKTYPE, "echo/handler.py")),
    "a tar with a device": ("not_a_file", _tar("echo/null", tarfile.CHRTYPE)),
    "a tar with a FIFO": ("not_a_file", _tar("echo/pipe", tarfile.FIFOTYPE)),
    "a tar with a set-user-id file": ("special_mode", _tar("echo/x", mode=0o4755)),
    "a tar with a long climbing name": ("unsafe_name", _tar("echo/" + "a/" * 60 + "../" * 70 + "x")),
    "a tar with a name twice": ("duplicate_name", _tar("echo/HANDLER.py")),
    "a tar bomb of text": ("ratio_too_high", lambda: raw_tar((tar_member("echo/a.txt"), bytes(2**24)))),
    "a tar header that is damaged": ("bad_checksum", _damaged_tar_header),
    "a tar cut short": ("corrupt", lambda: pack_tar(archive_files())[:-40]),
    "bytes after the gzip": ("hidden_data", lambda: pack_tar(archive_files()) + b"tail"),
    "gzip that holds no tar": ("corrupt", lambda: gzip.compress(b"hello")),
    "gzip that is no gzip": ("corrupt", lambda: b"\x1f\x8b" + bytes(64)),
}
