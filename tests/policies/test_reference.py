"""The page of keys in the docs is the generated one, and has every key that is available."""

import re
from pathlib import Path

import pytest

from policies.kinds import KINDS, Kind
from policies.permissions import PERMISSIONS
from policies.reference import policy_files_markdown
from tests.policies.test_availability import AVAILABLE

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "policy-files.md"


def test_the_page_is_what_the_types_say() -> None:
    wanted = "run: python -m policies.reference > docs/reference/policy-files.md"
    assert PAGE.read_text() == policy_files_markdown(), wanted


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.tag)
def test_every_available_key_has_a_row_with_a_meaning_and_no_other_key_has(kind: Kind) -> None:
    title = {"mesh/v1": "mesh.yaml", "limits/v1": "limits.yaml", "slos/v1": "slos.yaml"}
    folders = {"tenant/v1": "tenants/NAME.yaml", "route/v1": "routes/NAME.yaml", "tests/v1": "tests/NAME.yaml"}
    tag = kind.tag
    section = policy_files_markdown().partition(f"\n## {(title | folders)[tag]}\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| \**`([^`]+)`\** \| .*? \| (.+) \|$", section, re.MULTILINE))
    leaves = {re.sub(r"(\[\]|\.\*)+$", "", leaf) for leaf in AVAILABLE[tag]}
    above = {leaf[: match.start()] for leaf in leaves for match in re.finditer(r"(\[\])?(\.\*)?\.", leaf)}
    assert set(rows) == leaves | {re.sub(r"(\[\]|\.\*)+$", "", path) for path in above}
    assert all(meaning.endswith(".") for meaning in rows.values()), rows


def test_every_permission_is_on_the_page() -> None:
    last = policy_files_markdown().rpartition("## Permissions")[2]
    assert all(f"`{permission}`" in last for permission in PERMISSIONS)
