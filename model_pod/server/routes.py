"""Paths to what they mean; the names in a path are compared with the pod's own elsewhere."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from model_pod.server.answers import MethodNotAllowed
from model_pod.wire.refusals import Refused
from model_pod.wire.status import STATUS_PATH


class Endpoint(Enum):
    """What a pod is asked."""

    PREDICT = "a TorchServe prediction or explanation"
    INFER = "an Open Inference Protocol inference"
    METADATA = "what the model takes and gives"
    MODEL_READY = "whether the model answers"
    SERVER_READY = "whether the pod answers inferences"
    SERVER_LIVE = "whether the process is there"
    SERVER = "the server's name and extensions"
    PING = "TorchServe's health check"
    STATUS = "the pod's own account"


class Route(NamedTuple):
    """A path and method that mean something.

    Attributes:
        model: "" where the path names none.
        version: "" where the path names none.
        url_path: what follows the version in a TorchServe path.
        explain: an explanation is asked for.
    """

    endpoint: Endpoint
    model: str = ""
    version: str = ""
    url_path: str = ""
    explain: bool = False

    @property
    def needs_inference(self) -> bool:
        """Whether only the model can answer."""
        return self.endpoint is Endpoint.PREDICT or self.endpoint is Endpoint.INFER


_FIXED = {
    "/ping": Endpoint.PING,
    "/v2": Endpoint.SERVER,
    "/v2/health/live": Endpoint.SERVER_LIVE,
    "/v2/health/ready": Endpoint.SERVER_READY,
    STATUS_PATH: Endpoint.STATUS,
}
_OF_MODEL = {(): Endpoint.METADATA, ("ready",): Endpoint.MODEL_READY, ("infer",): Endpoint.INFER}


def match(method: str, path: str) -> Route:
    """Return what a request asks for.

    Args:
        path: as sent, percent-encoded; one trailing slash is dropped.

    Raises:
        Refused: ``path_not_found`` or ``method_not_allowed``.
    """
    path = path.removesuffix("/")
    if endpoint := _FIXED.get(path):
        if endpoint is not Endpoint.PING:  # TorchServe takes any method there
            _require(method, "GET")
        return Route(endpoint)
    segments = [_decoded(segment) for segment in path.split("/")[1:]] or [""]
    if segments[0] in ("predictions", "explanations") and len(segments) > 1 and segments[1]:
        version = segments[2] if len(segments) > 2 else ""
        explain = segments[0] == "explanations"
        return Route(Endpoint.PREDICT, segments[1], version, "/".join(segments[3:]), explain)
    if segments[:2] == ["v2", "models"] and len(segments) > 2:
        return _of_model(method, segments[2:])
    raise _not_found()


def _of_model(method: str, segments: list[str]) -> Route:
    """Read ``MODEL[/versions/VERSION][/ready|/infer]``."""
    model, rest, version = segments[0], segments[1:], ""
    if len(rest) >= 2 and rest[0] == "versions":
        version, rest = rest[1], rest[2:]
    endpoint = _OF_MODEL.get(tuple(rest))
    if endpoint is None or not model:
        raise _not_found()
    _require(method, "POST" if endpoint is Endpoint.INFER else "GET")
    return Route(endpoint, model, version)


def _require(method: str, wanted: str) -> None:
    if method != wanted and not (wanted == "GET" and method == "HEAD"):
        raise MethodNotAllowed(method, "GET, HEAD" if wanted == "GET" else wanted)


def _decoded(segment: str) -> str:
    if "%" not in segment:
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise _not_found() from None


def _not_found() -> Refused:
    return Refused("path_not_found", "Requested resource is not found, please refer to API document.")
