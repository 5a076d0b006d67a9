"""TorchServe's predictions over gRPC: the map of inputs becomes one row, the handler's bytes messages."""

from __future__ import annotations

from model_pod.protocols.exchange import HttpAnswer, RowInput, check_names
from model_pod.protocols.grpc_messages import MESSAGE_TYPE, framed, message_class, parsed
from model_pod.protocols.oip_v2 import ModelName
from model_pod.protocols.torchserve import MAX_FORM_FIELDS, RequestFacts
from model_pod.wire.frames import Buffer
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import Part, PartKind, Row

_PACKAGE = "org.pytorch.serve.grpc.inference"


def decode(facts: RequestFacts, message: bytes, name: ModelName) -> RowInput:
    """Return the call's one row; every input is bytes, as it is to TorchServe's handlers.

    Raises:
        Refused: ``malformed_body``, ``model_not_found`` or ``version_not_found``.
    """
    request = parsed(message_class(f"{_PACKAGE}.PredictionsRequest"), message)
    check_is_for(name, request.model_name, request.model_version)
    if len(request.input) > MAX_FORM_FIELDS:
        raise Refused("malformed_body", f"the request has over {MAX_FORM_FIELDS} inputs")
    given = dict(request.input)
    check_names(given)
    parts = tuple(Part(key, PartKind.BYTES, index) for index, key in enumerate(given))
    return RowInput(Row(facts.request_id, facts.headers, parts), tuple(given.values()))


def encode(answer: HttpAnswer) -> HttpAnswer:
    """Return a handler's answer, or a part of one, as a message; its status goes along, which gRPC does not tell."""
    return answer._replace(headers=_headers(answer), body=prediction(answer.body))


def head(answer: HttpAnswer) -> HttpAnswer:
    """Return how an answer begins whose messages follow."""
    return answer._replace(headers=_headers(answer), body=b"")


def prediction(content: Buffer) -> bytes:
    """Return a PredictionResponse with its prefix."""
    message: bytes = message_class(f"{_PACKAGE}.PredictionResponse")(prediction=bytes(content)).SerializeToString()
    return framed(message)


def check_is_for(name: ModelName, model: str, version: str) -> None:
    """Refuse a message that is for another model than the one that it was brought to.

    Raises:
        Refused: ``model_not_found`` or ``version_not_found``.
    """
    if model != name.model:
        raise Refused("model_not_found", f"Model not found: {model}")
    if version and version != name.version:
        raise Refused("version_not_found", f"Model version: {version} does not exist for model: {model}")


def _headers(answer: HttpAnswer) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in answer.headers if pair[0].lower() != "content-type") + MESSAGE_TYPE
