"""What is written as files is what the loader says, whatever is written, and formatting changes none of it."""

import string
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.compilation import compile_snapshot
from policies.format import format_file
from policies.kinds import LIMITS, MESH, ROUTE, TENANT, Kind
from policies.load import load_directory
from policies.schema.limits import LimitsFile
from policies.schema.mesh import MeshFile
from policies.schema.route import RouteFile
from policies.schema.tenant import TenantFile
from policies.snapshot.generation import Snapshot

MODELS = ("digits", "text")
TIERS = ("gold", "free")
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns")
FOLDERS = {TENANT.tag: ("tenants", "name"), ROUTE.tag: ("routes", "model")}
MESH_FILE = {"kind": MESH.tag, "name": "m"}
ROUTE_FILES = [
    {
        "kind": ROUTE.tag,
        "model": model,
        "owner": "us",
        "versions": {"1": {"pods": {"static": [f"{model}:8500"]}}},
        "stable": "1",
    }
    for model in MODELS
]


class Writer(yaml.SafeDumper):
    """Writes as PyYAML does, but in quotes what only YAML 1.2 reads as a number, such as 0E0."""


Writer.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if text[:1] in "+-.0123456789" else None
    ),
)
counts = st.integers(1, 10**6)
names = st.text(string.ascii_letters, min_size=1, max_size=8)
rates = st.builds(lambda number, unit: f"{number}/{unit}", counts, st.sampled_from("smhd"))
modes = st.sampled_from(["enforce", "observe"])
rate_bounds = st.fixed_dictionaries({"rate": rates}, optional={"burst": counts, "in_flight": counts, "mode": modes})
place_bounds = st.fixed_dictionaries({"in_flight": counts}, optional={"mode": modes})
bounds = rate_bounds | place_bounds
queues = st.fixed_dictionaries(
    {"length": st.integers(1, 4096), "wait": st.integers(0, 60_000).map(lambda wait_ms: f"{wait_ms}ms")}
)
waiting = st.fixed_dictionaries(
    {}, optional={"priority": st.integers(-1000, 1000), "weight": st.integers(1, 1000), "queue": queues}
)
tier = st.tuples(bounds, waiting).map(lambda parts: {**parts[0], **parts[1]})
tiers = st.fixed_dictionaries(dict.fromkeys(TIERS, tier))


@st.composite
def ladders(draw: st.DrawFn) -> dict[str, str]:
    """Warnings, then perhaps a demotion, then perhaps a refusal, at rising shares."""
    shares = sorted(draw(st.sets(st.integers(1, 1000), min_size=1, max_size=5)))
    last = draw(st.sampled_from([(), ("demote",), ("refuse",), ("demote", "refuse")]))
    actions = ["warn"] * len(shares) + list(last)
    return {f"{share}%": action for share, action in zip(shares, actions[-len(shares) :], strict=True)}


@st.composite
def quotas(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A quota whose amount is of the unit that its meter counts in."""
    meter = draw(st.sampled_from(["requests", "tokens", "bytes", "device_time", "gpu_time"]))
    per = draw(st.sampled_from(["calendar-hour", "calendar-month", "rolling-1h", "rolling-30d"]))
    amount: int | str = draw(counts)
    if meter == "bytes":
        amount = f"{amount}{draw(st.sampled_from(['B', 'KiB', 'GiB']))}"
    elif meter.endswith("_time"):
        amount = f"{amount}{draw(st.sampled_from(['ms', 's', 'h']))}"
    zone = {"zone": draw(st.sampled_from(ZONES))} if per.startswith("calendar-") and draw(st.booleans()) else {}
    at = {"at": draw(ladders())} if draw(st.booleans()) else {}
    return {"name": name, "meter": meter, "limit": amount, "per": per, **zone, **at}


@st.composite
def tenants(draw: st.DrawFn, number: int) -> dict[str, Any]:
    key_names = draw(st.lists(names, unique=True, max_size=3))
    own_names = draw(st.lists(names, unique=True, max_size=3))
    keys = [
        {"id": f"t{number}-{name}", "sha256": f"{number:032x}{index:032x}", "scopes": ["infer"]}
        for index, name in enumerate(key_names, start=1)
    ]
    return {
        "kind": TENANT.tag,
        "name": f"t{number}",
        "owner": draw(st.text(string.printable.strip(), min_size=1, max_size=20)),
        "tier": draw(st.sampled_from(TIERS)),
        "keys": keys,
        "quotas": [draw(quotas(name)) for name in own_names],
        **({"limits": draw(bounds)} if draw(st.booleans()) else {}),
        "may_call": draw(st.lists(st.sampled_from((*MODELS, "*")), unique=True)),
    }


@st.composite
def policies(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Every file of a directory, as plain values."""
    limits = {"kind": LIMITS.tag, "tiers": draw(tiers)}
    people = [draw(tenants(number)) for number in range(draw(st.integers(0, 3)))]
    return [MESH_FILE, *ROUTE_FILES, limits, *people]


def path_of(written: dict[str, Any]) -> str:
    if written["kind"] in FOLDERS:
        folder, name = FOLDERS[written["kind"]]
        return f"{folder}/{written[name]}.yaml"
    return {MESH.tag: MESH.place, LIMITS.tag: LIMITS.place}[written["kind"]]


def kind_of(written: dict[str, Any]) -> Kind:
    return next(kind for kind in (MESH, LIMITS, TENANT, ROUTE) if kind.tag == written["kind"])


def compiled(files: list[dict[str, Any]]) -> Snapshot:
    def of(kind: Kind) -> list[dict[str, Any]]:
        return [file for file in files if file["kind"] == kind.tag]

    return compile_snapshot(
        msgspec.convert(of(MESH)[0], MeshFile),
        msgspec.convert(of(LIMITS)[0], LimitsFile),
        msgspec.convert(of(TENANT), list[TenantFile]),
        msgspec.convert(of(ROUTE), list[RouteFile]),
    )


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(policies(), st.booleans())
def test_files_load_as_what_was_written_before_and_after_formatting(files: list[dict[str, Any]], flow: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        texts = {path_of(file): yaml.dump(file, Dumper=Writer, default_flow_style=flow) for file in files}
        for path, text in texts.items():
            (directory / path).parent.mkdir(exist_ok=True)
            (directory / path).write_text(text)
        loaded = load_directory(directory)
        assert loaded == compiled(files)
        for file in files:
            path = path_of(file)
            (directory / path).write_text(format_file(texts[path].encode(), path, kind_of(file)))
        assert load_directory(directory) == loaded
