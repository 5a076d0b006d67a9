"""Route: which API, model and version a path asks for. Knows no policy."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Api(StrEnum):
    """What a path is for; each needs one scope (see ``SCOPES``)."""

    PREDICT = "predict"
    EXPLAIN = "explain"
    INFER = "infer"
    MODEL_METADATA = "model_metadata"
    MODEL_READY = "model_ready"
    SERVER_METADATA = "server_metadata"
    REPOSITORY_INDEX = "repository_index"
    ME = "me"
    FEEDBACK = "feedback"


# What objectives count; the others only ask about a model.
INFERENCES = frozenset({Api.PREDICT, Api.EXPLAIN, Api.INFER})
# What the gateway answers by itself, to anyone whom it knows.
ABOUT_THE_SERVER = frozenset({Api.SERVER_METADATA, Api.REPOSITORY_INDEX, Api.ME, Api.FEEDBACK})
SCOPES = {Api.EXPLAIN: "explain"}
DEFAULT_SCOPE = "infer"
# TorchServe predicts on any method; the Open Inference Protocol says which.
METHODS: dict[Api, tuple[str, ...]] = {
    Api.INFER: ("POST",),
    Api.MODEL_METADATA: ("GET", "HEAD"),
    Api.MODEL_READY: ("GET", "HEAD"),
    Api.SERVER_METADATA: ("GET", "HEAD"),
    Api.REPOSITORY_INDEX: ("POST", "GET", "HEAD"),
    Api.ME: ("GET", "HEAD"),
    Api.FEEDBACK: ("POST",),
}
FEEDBACK_BYTES = 2**20
"""Largest body of feedback."""


class Target(Struct, frozen=True):
    """What a path asks for; ``version`` is "" when the path names none, ``model`` is "" for the server itself."""

    api: Api
    model: str = ""
    version: str = ""


def match_path(path: str) -> Target | None:
    """Return what a decoded path asks for, or None when no API lives there.

    One trailing slash is dropped, as TorchServe does; an empty part (``//``) matches nothing.
    """
    parts = path.removesuffix("/").split("/")[1:]
    if not parts or "" in parts:
        return None
    if parts[0] in ("predictions", "explanations"):
        return _torchserve(parts)
    if parts[0] == "v2":
        return _open_inference(parts[1:])
    if parts == ["me"]:
        return Target(Api.ME)
    if parts == ["feedback"]:
        return Target(Api.FEEDBACK)
    return None


def _torchserve(parts: list[str]) -> Target | None:
    """``/predictions/MODEL[/VERSION[/REST...]]``; the rest is the handler's ``url_path``."""
    if len(parts) < 2:
        return None
    api = Api.PREDICT if parts[0] == "predictions" else Api.EXPLAIN
    return Target(api, parts[1], parts[2] if len(parts) > 2 else "")


def _open_inference(parts: list[str]) -> Target | None:
    """``/v2``, ``/v2/repository/index`` and ``/v2/models/MODEL[/versions/VERSION][/infer|/ready]``."""
    if not parts:
        return Target(Api.SERVER_METADATA)
    if parts == ["repository", "index"]:
        return Target(Api.REPOSITORY_INDEX)
    if parts[0] != "models" or len(parts) < 2:
        return None
    model, rest = parts[1], parts[2:]
    version = ""
    if len(rest) >= 2 and rest[0] == "versions":
        version, rest = rest[1], rest[2:]
    match rest:
        case []:
            return Target(Api.MODEL_METADATA, model, version)
        case ["infer"]:
            return Target(Api.INFER, model, version)
        case ["ready"]:
            return Target(Api.MODEL_READY, model, version)
        case _:
            return None


def path_of(api: Api | None, model: str = "", version: str = "") -> str:
    """Return a path that asks for this; None gives one where no API lives."""
    match api:
        case None:
            return "/"
        case Api.ME:
            return "/me"
        case Api.FEEDBACK:
            return "/feedback"
        case Api.SERVER_METADATA:
            return "/v2"
        case Api.REPOSITORY_INDEX:
            return "/v2/repository/index"
        case Api.PREDICT:
            return f"/predictions/{model}" + (f"/{version}" if version else "")
        case Api.EXPLAIN:
            return f"/explanations/{model}" + (f"/{version}" if version else "")
    named = f"/v2/models/{model}" + (f"/versions/{version}" if version else "")
    return named + {Api.INFER: "/infer", Api.MODEL_READY: "/ready"}.get(api, "")
