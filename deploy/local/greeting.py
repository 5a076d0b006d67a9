"""Decides what to tell whoever started the mesh: its addresses, the key, and one command that works as it stands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from policies.snapshot.route import Route, Version

SAMPLE_INPUT = "sample_input.json"
SAMPLE_OUTPUT = "sample_output.json"


def greeted_route(routes: Mapping[str, Route]) -> Route | None:
    """Return the route to show: the first by name whose stable version we launch, else the first, else none."""
    by_name = [routes[model] for model in sorted(routes)]
    launched = [route for route in by_name if stable_version(route).launch is not None]
    return next(iter(launched or by_name), None)


def stable_version(route: Route) -> Version:
    """Return the version that answers when nothing else is asked for."""
    return route.versions[route.stable]


def promised_url(address: str) -> str:
    """Return the URL that an address of policy will have once something listens on it, "" where its port is chosen."""
    return "" if address.endswith(":0") else f"http://{address} (not up yet)"


def curl_line(inference_url: str, key: str, model: str, sample_input: Any) -> str:
    """Return a shell command that sends the sample to the model; an empty object where there is no sample."""
    body = json.dumps({} if sample_input is None else sample_input)
    return (
        f"curl -sS -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' "
        f"{inference_url}/predictions/{model} -d {shlex.quote(body)}"
    )


def expected_answer(sample_output: Any) -> str:
    """Return what the sample should be answered with, as one line; "" where nobody says."""
    if sample_output is None:
        return ""
    if isinstance(sample_output, dict):
        return ", ".join(f"{name} {json.dumps(value)}" for name, value in sample_output.items())
    return json.dumps(sample_output)
