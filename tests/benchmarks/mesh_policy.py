"""Policy directories for measurements: tenants with a key, a rate and a bound on what is in flight; routes to stubs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.large_policy import key_of, tenant_name

SERVES = ("inference", "inference-grpc", "admin")
MOST_JUDGED = 250  # routes with two objectives each: a mesh has 500 objectives at most


@dataclass(frozen=True, slots=True)
class MeshPolicy:
    """What a gateway is given.

    Attributes:
        routes: addresses of the pods by model.
        tenant_count: each has the key ``large_policy.key_of`` its number.
        lines: more of mesh.yaml.
    """

    routes: Mapping[str, Sequence[str]]
    tenant_count: int = 1
    lines: str = ""


def write_policies(folder: Path, policy: MeshPolicy) -> None:
    """Write a policy directory."""
    judged = dict(list(policy.routes.items())[:MOST_JUDGED])
    listen = "".join(f'  - {{address: "127.0.0.1:0", serves: {what}}}\n' for what in SERVES)
    files = {
        "mesh.yaml": f"kind: mesh/v1\n{policy.lines}listen:\n{listen}name: bench\n",
        "limits.yaml": "kind: limits/v1\ntiers:\n  bench: {rate: 1000000/s, in_flight: 4096}\n",
        "slos.yaml": "kind: slos/v1\nslos:\n" + "".join(map(_objectives, judged)),
    }
    for number in range(policy.tenant_count):
        files[f"tenants/{tenant_name(number)}.yaml"] = _tenant(number)
    for model, pods in policy.routes.items():
        files[f"routes/{model}.yaml"] = _route(model, pods, is_judged=model in judged)
    for name in ("tenants", "routes"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)


def _tenant(number: int) -> str:
    sha256 = hashlib.sha256(key_of(number).encode()).hexdigest()
    return (
        f"kind: tenant/v1\nname: {tenant_name(number)}\nowner: bench\ntier: bench\nkeys:\n"
        f'  - {{id: bench-{number}, sha256: "{sha256}", scopes: [infer]}}\nmay_call: ["*"]\n'
    )


def _objectives(model: str) -> str:
    shared = f"route: {model}, owner: bench, window: 30d"
    return (
        f"  - {{name: {model}-available, {shared}, good: {{status_below: 500}}, objective: 99.5%}}\n"
        f"  - {{name: {model}-fast, {shared}, good: {{status_below: 500, within: 250ms}}, objective: 99%}}\n"
    )


def _route(model: str, pods: Sequence[str], *, is_judged: bool) -> str:
    addresses = ", ".join(f'"{address}"' for address in pods)
    objectives = f"slo: [{model}-available, {model}-fast]\n" if is_judged else ""
    return (
        f"kind: route/v1\nmodel: {model}\nowner: bench\n{objectives}versions:\n"
        f'  "1": {{pods: {{static: [{addresses}], in_flight: 4096}}}}\nstable: "1"\n'
    )
