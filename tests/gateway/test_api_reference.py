"""The page of the gateway's APIs in the docs is the generated one, and has every path, method and permission."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from gateway.api_reference import HEALTH, api_markdown
from gateway.dataplane.answers import is_health_path
from gateway.dataplane.grpc.methods import METHODS
from gateway.decide.route import Api, match_path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "api.md"
SECURITY = ROOT / "tests" / "security"


def test_the_page_is_what_the_routes_say() -> None:
    assert PAGE.read_text() == api_markdown(), "run: python -m gateway.api_reference > docs/reference/api.md"


def test_every_path_of_the_inference_api_has_a_row() -> None:
    table = api_markdown().partition("## Inference API")[2].partition("\n## ")[0]
    paths = set(re.findall(r"`(/[^`]*)`", table)) - {"/readyz", "/livez"}
    targets = {path: match_path(path.replace("MODEL", "m").replace("VERSION", "v")) for path in paths}
    assert {target.api for target in targets.values() if target is not None} == set(Api)
    assert {path for path, target in targets.items() if target is None} == set(HEALTH) - {"/readyz", "/livez"}


def test_the_open_paths_are_the_health_paths() -> None:
    opened = tomllib.loads((SECURITY / "inference_routes.toml").read_text())["open"]
    assert {path.replace("MODEL", "digits") for path in HEALTH} == set(opened)
    assert all(is_health_path(path) for path in HEALTH)


def test_every_endpoint_of_the_management_api_is_there_with_its_permission() -> None:
    told = re.findall(
        r"^### `(\w+) (\S+)`\n\n.*\. Needs (?:`([\w.]+)`|any role|no credential)\.$", api_markdown(), re.M
    )
    table = tomllib.loads((SECURITY / "admin_routes.toml").read_text())["endpoint"]
    assert {(row["method"], row["path"], row.get("needs", "")) for row in table} == set(told)


def test_every_method_of_grpc_is_there() -> None:
    table = api_markdown().partition("## The same over gRPC")[2].partition("\n## ")[0]
    for method in METHODS.values():
        service, _, name = method.full_name.partition("/")
        assert re.search(rf"^\| `{re.escape(service)}` \|.*`{name}`", table, re.M), method


def test_fields_have_their_types_and_what_is_said_of_them() -> None:
    section = api_markdown().partition("### `GET /admin/slo`")[2].partition("\n### ")[0]
    assert re.search(r"^slos\[\]:", section, re.M)
    assert re.search(r"^  name: text$", section, re.M)
    assert "any value" not in api_markdown()
