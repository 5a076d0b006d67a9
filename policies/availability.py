"""Which keys of the grammar have no behaviour yet: they are refused by name, whatever stands in them.

Whoever adds the behaviour of a key deletes its line here.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

import msgspec
from msgspec import inspect

from policies.errors import PolicyError, quoted
from policies.kinds import KINDS, PolicyFile
from policies.nodes import Found, Scalar, Sequence, find, without
from policies.nodes import Mapping as MappingNode
from policies.shapes import bare, field_shapes, type_of, value_shape

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "mesh/v1": (
        "auth.api_keys.prefix",
        "state.store",
        "state.on_outage",
        "torchserve_compat",
    ),
    "tenant/v1": ("quotas[].on_outage",),
    "route/v1": (
        "stream",
        "versions.*.pods.kubernetes",
        "hedge",
        "cache",
    ),
}

# Keys with behaviour for one value only.
ONLY_VALUES: Final[Mapping[str, Mapping[str, str]]] = {"mesh/v1": {"auth.api_keys.header": "authorization"}}
# Values without behaviour, beside others that have some.
LATER_VALUES: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "mesh/v1": {
        "admin.roles[].may[]": frozenset(
            {
                "policy.apply",
                "policy.plan",
                "route.freeze",
            }
        )
    }
}


def check(file: PolicyFile) -> list[PolicyError]:
    """One error for each key that asks for behaviour that is not there; an empty list asks for none."""
    if file.root is None:
        return []
    return [*_missing_keys(file, file.root), *_missing_values(file, file.root)]


def available_keys(shape: inspect.StructType) -> list[str]:
    """The keys of a type that have behaviour: those that advice may name."""
    return [name for name in field_shapes(shape) if (shape.cls, name) not in _fields_without_behaviour()]


def available_part(file: PolicyFile) -> PolicyFile:
    """A file less what is refused as not available: a mistake inside that is no mistake yet."""
    if file.root is None:
        return file
    places = {(found.line, found.column) for found in _refused(file, file.root)}
    return msgspec.structs.replace(file, root=without(file.root, places)) if places else file


@cache
def _fields_without_behaviour() -> frozenset[tuple[type, str]]:
    """Each key of KEYS as the type that names it, and its name there."""
    fields: set[tuple[type, str]] = set()
    for kind in KINDS:
        for path in KEYS.get(kind.tag, ()):
            *steps, name = path.replace("[]", ".[]").split(".")
            shape: inspect.Type | None = type_of(kind.shape)
            for step in steps:
                shape = field_shapes(shape).get(step) or value_shape(shape)
            struct = bare(shape)
            assert isinstance(struct, inspect.StructType)  # noqa: S101 - each path of KEYS is one of the grammar
            fields.add((struct.cls, name))
    return frozenset(fields)


def _refused(file: PolicyFile, root: MappingNode) -> Iterator[Found]:
    for path in KEYS.get(file.kind.tag, ()):
        for found in find(root, path):
            if not _asks_for_nothing(found):
                yield found


def _missing_keys(file: PolicyFile, root: MappingNode) -> Iterator[PolicyError]:
    for found in _refused(file, root):
        problem = f"not available yet: {found.name}"
        yield PolicyError(file.path, found.line, found.column, problem, "Remove it for now.")


def _missing_values(file: PolicyFile, root: MappingNode) -> Iterator[PolicyError]:
    for path, available in ONLY_VALUES.get(file.kind.tag, {}).items():
        for found in find(root, path):
            if isinstance(found.node, Scalar) and found.node.value != available:
                problem = f"not available yet: {found.name} {quoted(found.node.text)}"
                yield PolicyError(file.path, found.line, found.column, problem, f"Write {available} for now.")
    for path, later in LATER_VALUES.get(file.kind.tag, {}).items():
        for found in find(root, path):
            if isinstance(found.node, Scalar) and found.node.text in later:
                problem = f"not available yet: {found.name} {quoted(found.node.text)}"
                yield PolicyError(file.path, found.line, found.column, problem, "Remove it for now.")


def _asks_for_nothing(found: Found) -> bool:
    return isinstance(found.node, Sequence) and not found.node.items
