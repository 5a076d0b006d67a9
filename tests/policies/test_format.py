"""The usual form of a file says the same, keeps every comment, and is its own usual form."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.document import parse
from policies.format import CannotFormatError, format_file
from policies.kinds import KINDS, LIMITS, MESH, ROUTE, TENANT, TESTS, Kind, kind_at
from policies.nodes import plain

HERE = Path(__file__).parent
DEMO = HERE.parents[1] / "policies" / "demo"
EXAMPLE = HERE / "worked_example"


def formatted(text: str, kind: Kind, path: str = "mesh.yaml") -> str:
    once = format_file(text.encode(), path, kind)
    assert format_file(once.encode(), path, kind) == once
    return once


def test_keys_move_to_the_order_of_the_schema_and_take_their_comments_along() -> None:
    untidy = """\
# yaml-language-server: $schema=somewhere.json
# About this file.

# Where requests go.
stable: "1"    # for now
versions:
      # The first.
      "1":
            pods: {launch: {archive: digits-1.mar}}   # small
      # "2": {pods: {launch: {archive: digits-2.mar}}}

# Who answers.
owner: us


model: digits
kind: route/v1
# The end.
"""
    assert (
        formatted(untidy, ROUTE)
        == """\
# yaml-language-server: $schema=somewhere.json
# About this file.

kind: route/v1

model: digits

# Who answers.
owner: us
versions:
  # The first.
  "1":
    pods: {launch: {archive: digits-1.mar}}   # small
  # "2": {pods: {launch: {archive: digits-2.mar}}}
# Where requests go.
stable: "1"    # for now
# The end.
"""
    )


def test_a_file_without_the_schema_line_gets_the_one_that_is_given_and_none_without() -> None:
    text = b"name: a\nkind: mesh/v1\n"
    assert format_file(text, "mesh.yaml", MESH) == "kind: mesh/v1\nname: a\n"
    with_line = format_file(text, "mesh.yaml", MESH, "../s.json")
    assert with_line == "# yaml-language-server: $schema=../s.json\nkind: mesh/v1\nname: a\n"
    assert format_file(with_line.encode(), "mesh.yaml", MESH, "another.json") == with_line


def test_a_line_that_led_to_our_schema_from_elsewhere_leads_to_it_again() -> None:
    text = b"# yaml-language-server: $schema=../../docs/policy-schema.json\nkind: mesh/v1\nname: a\n"
    assert format_file(text, "mesh.yaml", MESH).encode() == text
    mended = format_file(text, "mesh.yaml", MESH, "policy-schema.json")
    assert mended == "# yaml-language-server: $schema=policy-schema.json\nkind: mesh/v1\nname: a\n"


def test_items_of_lists_are_indented_and_their_keys_ordered() -> None:
    untidy = """\
# yaml-language-server: $schema=s
kind: mesh/v1
listen:
# The first.
-   serves: inference
    # Its address.
    address: 127.0.0.1:1
-
    address: 127.0.0.1:2
    serves: admin
name: a
"""
    assert (
        formatted(untidy, MESH)
        == """\
# yaml-language-server: $schema=s
kind: mesh/v1
listen:
  # The first.
  # Its address.
  - address: 127.0.0.1:1
    serves: inference
  - address: 127.0.0.1:2
    serves: admin
name: a
"""
    )


def test_values_over_several_lines_move_whole() -> None:
    untidy = """\
# yaml-language-server: $schema=s
may_call:
    [digits,
     letters]
owner: >-
      us and
      them
kind: tenant/v1
"""
    assert (
        formatted(untidy, TENANT)
        == """\
# yaml-language-server: $schema=s
kind: tenant/v1
owner: >-
      us and
      them
may_call:
    [digits,
     letters]
"""
    )


def test_the_names_of_tiers_keep_their_order() -> None:
    text = "# yaml-language-server: $schema=s\nkind: limits/v1\ntiers:\n  z: {rate: 1/s}\n  a: {rate: 1/s}\n"
    assert formatted(text, LIMITS) == text


def test_document_markers_are_dropped() -> None:
    assert formatted("# About.\n---\nkind: mesh/v1\nname: a\n...\n", MESH) == ("# About.\n\nkind: mesh/v1\nname: a\n")


@pytest.mark.parametrize(
    "file",
    [*sorted(DEMO.rglob("*.yaml")), *sorted(EXAMPLE.rglob("*.yaml"))],
    ids=lambda file: "/".join(file.parts[-2:]),
)
def test_each_example_keeps_its_meaning_and_its_comments(file: Path) -> None:
    root = DEMO if DEMO in file.parents else EXAMPLE
    path = str(file.relative_to(root))
    kind = kind_at(path)
    assert kind is not None
    text = formatted(file.read_text(), kind, path)
    assert sorted(line.strip() for line in text.splitlines() if "#" in line) == sorted(
        line.strip() for line in file.read_text().splitlines() if "#" in line
    )
    if root is DEMO:
        assert text == file.read_text()


def test_what_is_no_policy_is_left_alone() -> None:
    with pytest.raises(CannotFormatError) as refused:
        format_file(b"name: a\nkind: [\n", "mesh.yaml", MESH)
    assert (refused.value.line, refused.value.column) == (2, 7)


def test_what_cannot_be_moved_line_by_line_is_left_alone() -> None:
    with pytest.raises(CannotFormatError):
        format_file(b"name: a\n? kind\n: mesh/v1\n", "mesh.yaml", MESH)


KEYS = sorted({name for kind in KINDS for name in kind.shape.__struct_encode_fields__})
SCALARS = st.sampled_from(["1", "2s", '"x: #y"', "'it''s'", "[a, {b: c}]", "{a: 1, b: [2]}", "word # note"])


@st.composite
def blocks(draw: st.DrawFn, depth: int = 0) -> list[str]:
    """Lines of a mapping with keys in any order, comments and blank lines anywhere, and uneven indents."""
    lines: list[str] = []
    for key in draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True)):
        lines += draw(st.lists(st.sampled_from(["", "# one", "# two", "    # deep"]), max_size=2))
        shape = draw(st.sampled_from(["scalar", "mapping", "list"])) if depth < 3 else "scalar"
        if shape == "scalar":
            lines.append(f"{key}: {draw(SCALARS)}")
            continue
        inner = draw(blocks(depth + 1))
        pad = " " * draw(st.integers(1, 5))
        if shape == "mapping":
            lines += [f"{key}:", *(pad + line if line else "" for line in inner)]
        else:
            dashes = draw(st.sampled_from(["", pad]))
            lines += [
                f"{key}:",
                f"{dashes}- plain",
                f"{dashes}-",
                *(f"{dashes}{pad}{line}" if line else "" for line in inner),
            ]
    return lines


@settings(max_examples=40, deadline=None)
@given(blocks(), st.sampled_from(KINDS))
def test_any_file_keeps_its_meaning_and_is_formatted_once_for_all(lines: list[str], kind: Kind) -> None:
    text = "\n".join(lines) + "\n"
    before = parse(text.encode(), "file.yaml")
    if before.root is None or before.errors:
        return
    after = parse(formatted(text, kind).encode(), "file.yaml")
    assert after.root is not None
    assert plain(after.root) == plain(before.root)


QUOTAS_UNTIDY = """\
# whose it is
kind: tenant/v1
may_call: [digits]   # and no other
quotas:
# of the device
- at:
    # mail goes out
    80%: warn
    120%: refuse   # hard
  per: calendar-month
  zone: Europe/Berlin  # where the bill is made
  limit: 200h
  name: gpu
  meter: device_time
limits:
    # measured in October
    in_flight: 3
    rate: 5/s # peak
jwt: {issuer: sso, tenant_id: a}
tier: gold
name: a
owner: us
# the end
"""
QUOTAS = """\
# whose it is
kind: tenant/v1
name: a
owner: us
tier: gold
jwt: {issuer: sso, tenant_id: a}
limits:
  rate: 5/s # peak
  # measured in October
  in_flight: 3
quotas:
  # of the device
  - name: gpu
    meter: device_time
    limit: 200h
    per: calendar-month
    zone: Europe/Berlin  # where the bill is made
    at:
      # mail goes out
      80%: warn
      120%: refuse   # hard
may_call: [digits]   # and no other
# the end
"""
SHARED_UNTIDY = """\
kind: limits/v1
tiers:
  gold: {rate: 5/s}
shared:
  # all of it
  - rate: 5/s   # together
    # whose
    applies_to:
        tier: [gold]
        # one model
        route: digits
    name: all
"""
SHARED = """\
kind: limits/v1
shared:
  # all of it
  - name: all
    # whose
    applies_to:
      # one model
      route: digits
      tier: [gold]
    rate: 5/s   # together
tiers:
  gold: {rate: 5/s}
"""
TESTS_UNTIDY = """\
kind: tests/v1
tests:
- expect: {status: 200}   # yes
  # who asks
  request:
      model: digits   # this one
      tenant: demo
  # in a sentence
  name: demo may call
"""
TESTS_TIDY = """\
kind: tests/v1
tests:
  # in a sentence
  - name: demo may call
    # who asks
    request:
      tenant: demo
      model: digits   # this one
    expect: {status: 200}   # yes
"""


@pytest.mark.parametrize(
    ("untidy", "usual", "kind", "path"),
    [
        (QUOTAS_UNTIDY, QUOTAS, TENANT, "tenants/a.yaml"),
        (SHARED_UNTIDY, SHARED, LIMITS, "limits.yaml"),
        (TESTS_UNTIDY, TESTS_TIDY, TESTS, "tests/a.yaml"),
    ],
)
def test_limits_quotas_and_tests_keep_every_comment_where_it_belongs(
    untidy: str, usual: str, kind: Kind, path: str
) -> None:
    assert formatted(untidy, kind, path) == usual
