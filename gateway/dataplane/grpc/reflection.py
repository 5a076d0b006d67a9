"""Server reflection: which services there are, and the descriptors of their files, as they were compiled."""

from __future__ import annotations

from functools import cache

from gateway.dataplane.grpc import protobuf
from gateway.dataplane.grpc.methods import SERVICES
from gateway.dataplane.grpc.status import Status
from model_pod.wire.grpc.descriptors import FILE_SET

# Numbers of fields in reflection.proto, which are the same in v1 and v1alpha.
_BY_FILENAME, _BY_SYMBOL, _BY_EXTENSION, _EXTENSIONS_OF, _LIST = 3, 4, 5, 6, 7
_ORIGINAL, _FILES, _LISTED, _ERROR = 2, 4, 6, 7
# In descriptor.proto.
_FILE, _NAME, _PACKAGE, _DEPENDENCY, _MESSAGE, _ENUM, _SERVICE = 1, 1, 2, 3, 4, 5, 6
_NAME_OF_ANY, _NESTED, _METHOD = 1, 3, 2


def answer(request: bytes) -> bytes:
    """Return the ServerReflectionResponse to a ServerReflectionRequest.

    Raises:
        Refused: ``malformed_body``.
    """
    asked = protobuf.counted_fields(request)
    number, value = asked[-1] if asked else (0, b"")
    match number:
        case n if n == _LIST:
            listed = b"".join(protobuf.counted(1, protobuf.counted(1, service)) for service in SERVICES)
            told = protobuf.counted(_LISTED, listed)
        case n if n == _BY_FILENAME and value in _files():
            told = _files_with(value)
        case n if n == _BY_SYMBOL and value in _symbols():
            told = _files_with(_symbols()[value])
        case _:
            told = _not_found(value)
    return protobuf.counted(_ORIGINAL, request) + told


def _not_found(value: bytes) -> bytes:
    message = f"nothing here is called {value.decode(errors='replace')!r}"
    return protobuf.counted(_ERROR, protobuf.number(1, Status.NOT_FOUND) + protobuf.counted(2, message))


def _files_with(name: bytes) -> bytes:
    """Return a file and all that it needs, which must come first."""
    needed: dict[bytes, None] = {}
    _gather(name, needed)
    return protobuf.counted(_FILES, b"".join(protobuf.counted(1, _files()[file]) for file in needed))


def _gather(name: bytes, needed: dict[bytes, None]) -> None:
    if name in needed or name not in _files():
        return
    for number, value in protobuf.counted_fields(_files()[name]):
        if number == _DEPENDENCY:
            _gather(value, needed)
    needed[name] = None


@cache
def _files() -> dict[bytes, bytes]:
    """Each file's descriptor by its name."""
    files = [value for number, value in protobuf.counted_fields(FILE_SET.read_bytes()) if number == _FILE]
    return {_first(file, _NAME): file for file in files}


@cache
def _symbols() -> dict[bytes, bytes]:
    """The file of each service, method, message and enum, by full name."""
    symbols: dict[bytes, bytes] = {}
    for name, file in _files().items():
        package = _first(file, _PACKAGE)
        for number, value in protobuf.counted_fields(file):
            if number in (_MESSAGE, _ENUM, _SERVICE):
                inner = {_MESSAGE: _NESTED, _SERVICE: _METHOD}.get(number, 0)
                for symbol in _names(value, package, inner):
                    symbols[symbol] = name
    return symbols


def _names(described: bytes, scope: bytes, inner: int) -> list[bytes]:
    """Return the full names of what is described and of what is in it; ``inner`` is the number of that field."""
    full = b"%b.%b" % (scope, _first(described, _NAME_OF_ANY)) if scope else _first(described, _NAME_OF_ANY)
    within = [value for number, value in protobuf.counted_fields(described) if inner and number == inner]
    deeper = _NESTED if inner == _NESTED else 0
    return [full, *(name for value in within for name in _names(value, full, deeper))]


def _first(described: bytes, wanted: int) -> bytes:
    return next((value for number, value in protobuf.counted_fields(described) if number == wanted), b"")
