"""Request and response heads: llhttp reads the syntax, and what it leaves open is decided here.

llhttp (strict, the only mode httptools has) already refuses bare CR or LF, folded lines, spaces before a colon,
control bytes in names, values and targets, repeated or listed Content-Length, and Content-Length beside
Transfer-Encoding. Each refusal here closes one gap that remains; ``tests/model_pod/wire/http1`` has a line for each.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from ipaddress import IPv6Address
from urllib.parse import unquote_to_bytes

import httptools
from msgspec import Struct

from model_pod.wire.refusals import Refused

Fields = list[tuple[bytes, bytes]]
Values = dict[bytes, bytes]

METHODS = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
# RFC 9110 7.6.1, and the fields that only speak of this connection.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Fields of an answer that the gateway writes itself, or that speak of one connection: no pod tells its caller these.
NOT_FOR_CALLERS = HOP_BY_HOP | {
    b"content-length",
    b"date",
    b"penstock-decision",
    b"ratelimit",
    b"ratelimit-policy",
    b"server",
    b"server-timing",
    b"traceresponse",
    b"x-request-id",
}
# Statuses whose answers have no body (RFC 9110 6.4.1).
BODYLESS = frozenset({204, 304})
# Naming one of these in Connection would make a hop drop what the next one relies on.
_NEVER_HOP_BY_HOP = frozenset(
    {
        b"authorization",
        b"baggage",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"date",
        b"expect",
        b"forwarded",
        b"host",
        b"idempotency-key",
        b"traceparent",
        b"tracestate",
        b"via",
        b"x-request-id",
    }
)
_NEVER_HOP_BY_HOP_PREFIXES = (b"penstock-", b"x-forwarded-")
# Fields of one value each: with two, two readers could take one each (RFC 9110 5.3). Authorization is the gateway's.
_SINGLE = (b"host", b"content-type", b"idempotency-key", b"penstock-timeout-ms")
_CONNECTION = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z, \t-]*\Z")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?\Z")
_VERSIONS = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_PHRASE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
_PLAIN_TARGET = re.compile(rb"/[^#]*\Z", re.DOTALL)
_ABSOLUTE_TARGET = re.compile(rb"(?i:http(s?))://([^/?]*)(.*)\Z", re.DOTALL)
MAX_LENGTH_DIGITS = 16
_MAX_CONTENT_LENGTH = 2**53
_HTTP_11 = b" HTTP/1.1\r\n"
_SPACE = 0x20
_NO_NAMES: frozenset[bytes] = frozenset()
# Names of fields as written, and in lower case. There are a few for each kind of client; who makes up names is not
# remembered.
_MAX_REMEMBERED, _MAX_REMEMBERED_BYTES = 1024, 1024
_lower: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}


class HeadLimits(Struct, frozen=True):
    """Bounds on a request's head.

    Attributes:
        target_bytes: longest request target (414 above).
        head_bytes: request line and all fields together (431 above).
        field_count: most fields (431 above).
    """

    target_bytes: int = 8 * 1024
    head_bytes: int = 16 * 1024
    field_count: int = 100


class RequestHead:
    """A request head that passed the gate.

    Attributes:
        method: upper case, one of ``METHODS``.
        target: origin form (an absolute form is reduced to it), or ``*``.
        path: the target before ``?``, still percent-encoded.
        query: the target after ``?``, "" when there is none.
        names: of the fields, in the client's order and spelling; () when one came more than once.
        fields: in the client's order and spelling, values without surrounding space.
        minor_version: 1 for HTTP/1.1, 0 for HTTP/1.0.
        keep_alive: the client lets the connection live on.
        content_length: None when the head does not say.
        chunked: the body is chunked.
        expects_continue: the client waits for ``100 Continue``.
        connection_names: lower-case names the client listed in Connection; they go no further.
        values: the last value of each field by lower-case name.
    """

    __slots__ = (
        "chunked",
        "connection_names",
        "content_length",
        "expects_continue",
        "fields",
        "keep_alive",
        "method",
        "minor_version",
        "names",
        "path",
        "query",
        "target",
        "values",
    )

    def __init__(
        self,
        method: str,
        target: str,
        fields: Fields,
        values: Values,
        minor_version: int,
        keep_alive: bool = True,
        names: tuple[bytes, ...] = (),
    ) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.names = names
        self.fields = fields
        self.minor_version = minor_version
        self.keep_alive = keep_alive
        self.values = values
        self.content_length: int | None = None
        self.chunked = False
        self.expects_continue = False
        self.connection_names = _NO_NAMES

    def get(self, name: bytes) -> bytes | None:
        """Return the value of the last field of that lower-case name, without the space around it."""
        value = self.values.get(name)
        return value and value.strip(b" \t")

    @property
    def body_expected(self) -> bool:
        """Whether bytes of a body follow."""
        return self.chunked or bool(self.content_length)

    def decoded_path(self) -> str | None:
        """Return the path with percent-encoding undone, None when it is not UTF-8."""
        try:
            return unquote_to_bytes(self.path).decode("utf-8") if "%" in self.path else self.path
        except UnicodeDecodeError:
            return None


class ResponseHead:
    """A response head as a pod sent it.

    Attributes:
        fields: in the pod's order and spelling.
        content_length: None when the head does not say.
        chunked: the body is chunked; with neither, it ends with the connection.
    """

    __slots__ = ("chunked", "content_length", "fields", "keep_alive", "phrase", "status")

    def __init__(self, status: int, phrase: bytes, fields: Fields, keep_alive: bool) -> None:
        self.status = status
        self.phrase = phrase
        self.fields = fields
        self.keep_alive = keep_alive
        self.content_length: int | None = None
        self.chunked = False


class _HeardRequest:
    """Collects what llhttp calls out of a request's head; a call of ours for each field would be the dear part."""

    __slots__ = ("named", "on_header", "on_headers_complete", "on_url", "target", "whole")

    def __init__(self) -> None:
        self.target: list[bytes] = []
        self.named: Values = {}
        self.whole: list[bool] = []
        self.on_url = self.target.append
        self.on_header = self.named.__setitem__
        self.on_headers_complete = partial(self.whole.append, True)


class _HeardFields:
    """Collects every field, those too whose names come again."""

    __slots__ = ("fields",)

    def __init__(self) -> None:
        self.fields: Fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


class _HeardResponse:
    """Collects what llhttp calls out of a response's head."""

    __slots__ = ("complete", "fields", "keep_alive", "parser", "phrase")

    parser: httptools.HttpResponseParser

    def __init__(self) -> None:
        self.phrase = b""
        self.fields: Fields = []
        self.complete = False
        self.keep_alive = False

    def on_status(self, piece: bytes) -> None:
        self.phrase += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True
        # Only now: a message without a body ends at once, and its end resets what llhttp knows of it.
        self.keep_alive = self.parser.should_keep_alive()
        del self.parser  # the two know each other; without this only the collector would free them


def parse_request_head(head: bytes, limits: HeadLimits) -> RequestHead:
    """Read one whole head, blank line included.

    Raises:
        Refused: with the reason and the sentence to answer; the connection must close.
    """
    heard = _HeardRequest()
    parser = httptools.HttpRequestParser(heard)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # RFC 9110 7.8 lets a server ignore Upgrade; it is hop-by-hop and goes no further
    except httptools.HttpParserInvalidMethodError as error:
        raise Refused("malformed_http", "the request's method is not one of HTTP's") from error
    except httptools.HttpParserError as error:
        raise _syntax_refusal(head, str(error)) from error
    if not heard.whole:
        raise Refused("malformed_http", "the request's head is incomplete")
    method = parser.get_method()
    target = heard.target[0] if len(heard.target) == 1 else b"".join(heard.target)
    target_at = len(method) + 1
    if (
        head.startswith(_HTTP_11, target_at + len(target))
        and head.startswith(target, target_at)
        and head[target_at - 1] == _SPACE
    ):
        minor_version = 1
    else:
        minor_version = _check_request_line(head, method, target, parser.get_http_version())
    name = METHODS.get(method)
    if name is None:
        raise Refused("method_not_allowed", f"{method.decode()} is not supported; use GET or POST")
    count = head.count(b"\r\n") - 2  # of lines between the first and the empty one
    if count > limits.field_count:
        raise Refused("head_too_large", f"the request has over {limits.field_count} header fields")
    if len(target) > limits.target_bytes:
        raise Refused("target_too_long", f"the request target is longer than {limits.target_bytes} bytes")
    names = tuple(heard.named)
    values = dict(zip(_lower.get(names) or _lower_names(names), heard.named.values(), strict=True))
    fields: Fields = list(heard.named.items())
    if len(fields) != count or len(values) != count:
        names, fields = (), _every_field(head)
    request = RequestHead(name, target.decode("latin-1"), fields, values, minor_version, True, names)
    _read_fields(request)
    if not _PLAIN_TARGET.match(target):
        _set_target(request, method, target)
    return request


def _lower_names(names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return names in lower case; a client names its fields alike in every request, so this is remembered."""
    lower = tuple(map(bytes.lower, names))
    if sum(map(len, names)) <= _MAX_REMEMBERED_BYTES:
        if len(_lower) >= _MAX_REMEMBERED:
            _lower.clear()
        _lower[names] = lower
    return lower


def _every_field(head: bytes) -> Fields:
    """Read a head again whose fields do not all have names of their own."""
    heard = _HeardFields()
    with suppress(httptools.HttpParserUpgrade):
        httptools.HttpRequestParser(heard).feed_data(head)
    return heard.fields


def _syntax_refusal(head: bytes, problem: str) -> Refused:
    if b"HTTP/" in head.split(b"\r\n", 1)[0] and problem == "Invalid HTTP version":
        return Refused("http_version_not_supported", "only HTTP/1.1 and HTTP/1.0 are supported")
    lower = problem.lower()
    if "transfer-encoding" in lower and "content-length" not in lower:
        return Refused("transfer_coding_not_supported", "the only Transfer-Encoding supported is `chunked`, once")
    return Refused("malformed_http", f"the request is not HTTP/1.1: {problem}")


def _check_request_line(head: bytes, method: bytes, target: bytes, version: str) -> int:
    """Return the minor version; llhttp lets through extra spaces, odd versions and leading blank lines."""
    if version not in ("1.1", "1.0"):
        raise Refused("http_version_not_supported", "only HTTP/1.1 and HTTP/1.0 are supported")
    if not head.startswith(b"%b %b HTTP/%b\r\n" % (method, target, version.encode())):
        raise Refused("malformed_http", "the request line is not `METHOD TARGET HTTP/1.1` with single spaces")
    return 1 if version == "1.1" else 0


def _read_fields(request: RequestHead) -> None:
    """Decide the framing from the fields (RFC 9112 6), and check those that steer a connection."""
    values = request.values
    if len(values) != len(request.fields):
        _join_repeated(request)
    host = values.get(b"host")
    if host is None and request.minor_version:
        raise Refused("malformed_http", "the request needs exactly one Host field")
    if host is not None and not is_host(host.strip(b" \t")):
        raise Refused("malformed_http", "the Host field is not a host name or address with an optional port")
    if coding := values.get(b"transfer-encoding"):
        _set_chunked(request, coding.strip(b" \t"))
    if length := values.get(b"content-length"):
        request.content_length = _content_length(length.strip(b" \t"))
    if expectation := values.get(b"expect"):
        if expectation.strip(b" \t").lower() != b"100-continue":
            raise Refused("expectation_not_supported", "the only expectation supported is `100-continue`")
        request.expects_continue = request.minor_version == 1
    connection = values.get(b"connection")
    if connection:
        _set_connection_names(request, connection)
    if connection or not request.minor_version:
        _set_keep_alive(request)


def is_host(host: bytes) -> bool:
    """Whether a Host field or an authority without user is well-formed (RFC 3986 3.2.2)."""
    match = _HOST.match(host)
    if match is None or int(match[2] or 0) > 65_535:
        return False
    return match[1] is None or _is_ipv6(match[1].decode("ascii"))


def _is_ipv6(address: str) -> bool:
    try:
        IPv6Address(address)
    except ValueError:
        return False
    return True


def _join_repeated(request: RequestHead) -> None:
    """Some field came more than once: lists that steer the connection are joined, and what has one value is refused."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in request.fields:
        found.setdefault(name.lower(), []).append(value.strip(b" \t"))
    for single in _SINGLE:
        if len(found.get(single, ())) > 1:
            raise Refused("malformed_http", f"the request needs exactly one {single.decode().title()} field, if any")
    for steering in (b"transfer-encoding", b"connection", b"expect"):
        if steering in found:
            request.values[steering] = b",".join(found[steering])


def _set_chunked(request: RequestHead, coding: bytes) -> None:
    if request.minor_version == 0:
        raise Refused("malformed_http", "HTTP/1.0 has no Transfer-Encoding")
    if coding.lower() != b"chunked":
        raise Refused("transfer_coding_not_supported", "the only Transfer-Encoding supported is `chunked`, once")
    request.chunked = True


def _content_length(text: bytes) -> int:
    if not text.isdigit() or len(text) > MAX_LENGTH_DIGITS or int(text) > _MAX_CONTENT_LENGTH:
        raise Refused("malformed_http", "Content-Length is not a number of bytes")
    return int(text)


def _set_connection_names(request: RequestHead, connection: bytes) -> None:
    names = frozenset(name.strip(b" \t").lower() for name in connection.split(b","))
    if not _CONNECTION.match(connection) or any(b" " in name or b"\t" in name for name in names):
        raise Refused("malformed_http", "Connection is not a list of names")
    if names & _NEVER_HOP_BY_HOP or any(name.startswith(_NEVER_HOP_BY_HOP_PREFIXES) for name in names):
        raise Refused("malformed_http", "Connection names a field that belongs to the whole way")
    request.connection_names = names


def _set_keep_alive(request: RequestHead) -> None:
    """RFC 9112 9.3: HTTP/1.1 keeps a connection unless it says close, HTTP/1.0 only if it says keep-alive."""
    names = request.connection_names
    request.keep_alive = b"close" not in names and (request.minor_version == 1 or b"keep-alive" in names)


def _set_target(request: RequestHead, method: bytes, target: bytes) -> None:
    """Reduce the target to origin form; ``*`` is for OPTIONS only, and no fragment travels."""
    if b"#" in target:
        raise Refused("malformed_http", "the request target holds a fragment")
    if match := _ABSOLUTE_TARGET.match(target):
        secure, authority, target = match.groups()
        default_port = b":443" if secure else b":80"
        host = request.get(b"host")
        if not is_host(authority):
            raise Refused("malformed_http", "the absolute request target names no host")
        if host is not None and _without_port(authority, default_port) != _without_port(host, default_port):
            raise Refused("malformed_http", "the absolute request target and Host name different hosts")
        if not target and method == b"OPTIONS":
            target = b"*"  # RFC 9112 3.2.4
        elif not target.startswith(b"/"):
            target = b"/" + target
    elif not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        raise Refused("malformed_http", "the request target must begin with `/`")
    request.target = target.decode("latin-1")
    request.path, _, request.query = request.target.partition("?")


def _without_port(authority: bytes, default_port: bytes) -> bytes:
    return authority.lower().removesuffix(default_port).removesuffix(b":")


def parse_response_head(head: bytes) -> ResponseHead:
    """Read one whole response head; pods are not trusted to write HTTP.

    Raises:
        ValueError: it is not a response head that may be passed on.
    """
    heard = _HeardResponse()
    parser = heard.parser = httptools.HttpResponseParser(heard)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        raise ValueError("the pod switched protocols") from None
    except httptools.HttpParserError as error:
        raise ValueError(f"the pod's answer is not HTTP/1.1: {error}") from error
    if not heard.complete:
        raise ValueError("the head of the pod's answer is incomplete")
    status = parser.get_status_code()
    version = parser.get_http_version()
    if not head.startswith(_VERSIONS) or not 100 <= status <= 599 or not _PHRASE.match(heard.phrase):
        raise ValueError("the status line of the pod's answer is not HTTP/1.1's")
    response = ResponseHead(status, heard.phrase, heard.fields, heard.keep_alive)
    for name, value in heard.fields:
        lower = name.lower()
        if lower == b"content-length":
            response.content_length = int(value)
            if response.content_length > _MAX_CONTENT_LENGTH:
                raise ValueError("the length of the pod's answer is beyond any")
        elif lower == b"transfer-encoding":
            if value.strip(b" \t").lower() != b"chunked" or response.chunked or version != "1.1":
                raise ValueError("the pod's answer has a transfer coding other than chunked")
            response.chunked = True
    return response
