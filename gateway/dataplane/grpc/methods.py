"""Methods: what each path of our gRPC services asks, and the answers that the gateway has in JSON, as messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from gateway.dataplane.grpc import protobuf
from gateway.dataplane.grpc.protobuf import Names

OPEN_INFERENCE: Final = "inference.GRPCInferenceService"
TORCHSERVE: Final = "org.pytorch.serve.grpc.inference.InferenceAPIsService"
HEALTH: Final = "grpc.health.v1.Health"
REFLECTION: Final = "grpc.reflection.v1.ServerReflection"
REFLECTION_ALPHA: Final = "grpc.reflection.v1alpha.ServerReflection"
SERVICES: Final = (OPEN_INFERENCE, TORCHSERVE, HEALTH, REFLECTION, REFLECTION_ALPHA)


class Asks(Enum):
    """What a method is for."""

    INFER = auto()  # the pod takes and answers messages
    PREDICT = auto()
    MODEL_READY = auto()  # asked in HTTP's way, and the answer is told as a message
    MODEL_METADATA = auto()
    SERVER_METADATA = auto()
    REPOSITORY_INDEX = auto()
    SERVER_LIVE = auto()  # the gateway knows by itself; no key is asked for
    SERVER_READY = auto()
    PING = auto()
    CHECK = auto()
    WATCH = auto()
    REFLECT = auto()


# Of models, whose name is in the message; and those for which the message itself goes to the pod.
OF_A_MODEL: Final = frozenset({Asks.INFER, Asks.PREDICT, Asks.MODEL_READY, Asks.MODEL_METADATA})
TO_THE_POD: Final = frozenset({Asks.INFER, Asks.PREDICT})


class Method(Struct, frozen=True):
    """One method.

    Attributes:
        full_name: with its service, ``SERVICE/METHOD``.
        takes_many: the caller sends messages until it ends its side; each is a request of its own, in turn.
    """

    name: str
    asks: Asks
    takes_many: bool = False
    full_name: str = ""


METHODS: Final[Mapping[bytes, Method]] = {
    f"/{service}/{method.name}".encode(): replace(method, full_name=f"{service}/{method.name}")
    for service, methods in {
        OPEN_INFERENCE: (
            Method("ModelInfer", Asks.INFER),
            Method("ModelStreamInfer", Asks.INFER, takes_many=True),
            Method("ModelReady", Asks.MODEL_READY),
            Method("ModelMetadata", Asks.MODEL_METADATA),
            Method("ServerMetadata", Asks.SERVER_METADATA),
            Method("RepositoryIndex", Asks.REPOSITORY_INDEX),
            Method("ServerLive", Asks.SERVER_LIVE),
            Method("ServerReady", Asks.SERVER_READY),
        ),
        TORCHSERVE: (
            Method("Predictions", Asks.PREDICT),
            Method("StreamPredictions", Asks.PREDICT),
            Method("StreamPredictions2", Asks.PREDICT, takes_many=True),
            Method("Ping", Asks.PING),
        ),
        HEALTH: (Method("Check", Asks.CHECK), Method("Watch", Asks.WATCH)),
        REFLECTION: (Method("ServerReflectionInfo", Asks.REFLECT, takes_many=True),),
        REFLECTION_ALPHA: (Method("ServerReflectionInfo", Asks.REFLECT, takes_many=True),),
    }.items()
    for method in methods
}


@lru_cache(1024)
def target_of(asks: Asks, names: Names) -> str:
    """Return the HTTP target that asks the same."""
    if asks is Asks.SERVER_METADATA:
        return "/v2"
    if asks is Asks.REPOSITORY_INDEX:
        return "/v2/repository/index"
    model, version = quote(names.model, safe=""), quote(names.version, safe="")
    if asks is Asks.PREDICT:
        return f"/predictions/{model}/{version}" if version else f"/predictions/{model}"
    named = f"/v2/models/{model}/versions/{version}" if version else f"/v2/models/{model}"
    return named + {Asks.INFER: "/infer", Asks.MODEL_READY: "/ready"}.get(asks, "")


def _server_metadata(told: Mapping[str, Any]) -> bytes:
    extensions = b"".join(protobuf.counted(3, str(one)) for one in told.get("extensions", ()))
    return protobuf.counted(1, str(told["name"])) + protobuf.counted(2, str(told["version"])) + extensions


def _model_metadata(told: Mapping[str, Any]) -> bytes:
    return b"".join(
        [
            protobuf.counted(1, str(told["name"])),
            *(protobuf.counted(2, str(version)) for version in told.get("versions", ())),
            protobuf.counted(3, str(told.get("platform", ""))),
            *(protobuf.counted(4, _tensor(tensor)) for tensor in told.get("inputs", ())),
            *(protobuf.counted(5, _tensor(tensor)) for tensor in told.get("outputs", ())),
        ]
    )


def _tensor(told: Mapping[str, Any]) -> bytes:
    named = protobuf.counted(1, str(told["name"])) + protobuf.counted(2, str(told["datatype"]))
    return named + protobuf.numbers(3, [int(size) for size in told["shape"]])


def _repository_index(told: Mapping[str, Any]) -> bytes:
    return b"".join(
        protobuf.counted(
            1,
            b"".join(protobuf.counted(number, str(model[name])) for number, name in enumerate(_INDEXED, 1)),
        )
        for model in told["items"]
    )


_INDEXED = ("name", "version", "state", "reason")


def only_ready(message: bytes) -> str:
    """Return what a RepositoryIndexRequest asks for, as a query."""
    return "?ready=true" if protobuf.is_set(message, 2) else ""


def ready(is_ready: bool) -> bytes:
    """Return the answer to whether a server or model is ready, or live."""
    return protobuf.number(1, int(is_ready))


def _model_ready(_: Mapping[str, Any]) -> bytes:
    return ready(True)


FROM_JSON: Final[Mapping[Asks, Callable[[Mapping[str, Any]], bytes]]] = {
    Asks.SERVER_METADATA: _server_metadata,
    Asks.REPOSITORY_INDEX: _repository_index,
    Asks.MODEL_METADATA: _model_metadata,
    Asks.MODEL_READY: _model_ready,
}
"""A good answer in JSON as the method's message; raises ``LookupError``, ``TypeError`` or ``ValueError`` at others."""
# Why a model is not ready, which ModelReady answers with "no" and not with an error.
NOT_READY: Final = frozenset({"no_pod_ready", "model_not_ready", "pod_draining"})
