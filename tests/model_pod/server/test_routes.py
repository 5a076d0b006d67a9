"""Paths and what they mean."""

from __future__ import annotations

import pytest

from model_pod.server.answers import MethodNotAllowed
from model_pod.server.routes import Endpoint, Route, match
from model_pod.wire.refusals import Refused


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/predictions/m", Route(Endpoint.PREDICT, "m")),
        ("GET", "/predictions/m/", Route(Endpoint.PREDICT, "m")),
        ("DELETE", "/predictions/m/1.0", Route(Endpoint.PREDICT, "m", "1.0")),
        ("PUT", "/predictions/m/1.0/a/b", Route(Endpoint.PREDICT, "m", "1.0", "a/b")),
        ("POST", "/predictions/m%20n", Route(Endpoint.PREDICT, "m n")),
        ("POST", "/explanations/m/1.0", Route(Endpoint.PREDICT, "m", "1.0", "", True)),
        ("POST", "/v2/models/m/infer", Route(Endpoint.INFER, "m")),
        ("POST", "/v2/models/m/versions/1/infer", Route(Endpoint.INFER, "m", "1")),
        ("GET", "/v2/models/m", Route(Endpoint.METADATA, "m")),
        ("HEAD", "/v2/models/m/versions/1", Route(Endpoint.METADATA, "m", "1")),
        ("GET", "/v2/models/m/versions/1/ready", Route(Endpoint.MODEL_READY, "m", "1")),
        ("GET", "/v2/models/infer/ready", Route(Endpoint.MODEL_READY, "infer")),
        ("GET", "/v2", Route(Endpoint.SERVER)),
        ("GET", "/v2/health/live", Route(Endpoint.SERVER_LIVE)),
        ("GET", "/v2/health/ready", Route(Endpoint.SERVER_READY)),
        ("POST", "/ping", Route(Endpoint.PING)),
        ("GET", "/penstock/pod", Route(Endpoint.STATUS)),
    ],
)
def test_a_path_means_what_its_protocol_says(method: str, path: str, route: Route) -> None:
    assert match(method, path) == route


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "*",
        "/foo",
        "//predictions/m",
        "/predictions",
        "/predictions//1",
        "/predictions/%ff",
        "/v2/models",
        "/v2/models//ready",
        "/v2/models/m/versions",
        "/v2/models/m/nothing",
        "/v2/models/m/infer/more",
        "/PING",
    ],
)
def test_other_paths_are_not_found(path: str) -> None:
    with pytest.raises(Refused) as refused:
        match("POST", path)
    assert refused.value.reason == "path_not_found"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/v2/models/m/infer", "POST"), ("POST", "/v2", "GET, HEAD"), ("DELETE", "/penstock/pod", "GET, HEAD")],
)
def test_a_method_that_a_path_does_not_take_is_refused_with_those_it_takes(method: str, path: str, allow: str) -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        match(method, path)
    assert refused.value.allow == allow
