"""The types of policy files can be walked, and a process that walked them ends well."""

import os
import subprocess
import sys

import pytest

from policies.kinds import KINDS, Kind
from policies.schema.limits import LimitsFile
from policies.schema.tenant import TenantFile
from policies.shapes import bare, field_shapes, type_of, value_shape

WALK = "from policies.kinds import KINDS; from policies.shapes import type_of; [type_of(kind.shape) for kind in KINDS]"


def test_what_is_below_a_key_a_name_and_an_item_is_found() -> None:
    tiers = field_shapes(type_of(LimitsFile))["tiers"]
    assert "rate" in field_shapes(value_shape(tiers))
    assert "sha256" in field_shapes(value_shape(field_shapes(type_of(TenantFile))["keys"]))


def test_one_of_several_types_is_none_of_them() -> None:
    limit = field_shapes(value_shape(field_shapes(type_of(TenantFile))["quotas"]))["limit"]
    assert bare(limit) is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.tag)
def test_every_kind_of_file_begins_with_its_kind(kind: Kind) -> None:
    assert next(iter(field_shapes(type_of(kind.shape)))) == "kind"


def test_a_process_that_walked_every_type_ends_without_a_crash() -> None:
    """Memory that is freed is overwritten at once here, so that what is used afterwards shows."""
    environ = {**os.environ, "PYTHONMALLOC": "malloc", "MALLOC_PERTURB_": "165"}
    ended = subprocess.run([sys.executable, "-c", WALK], env=environ, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
