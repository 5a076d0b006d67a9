"""Which keys of the grammar have no behaviour yet: they are checked like all others, and then refused by name.

Whoever adds the behaviour of a key deletes its line here.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from policies.errors import PolicyError, quoted
from policies.kinds import PolicyFile
from policies.nodes import Found, Scalar, Sequence, find
from policies.nodes import Mapping as MappingNode

WHOLE_FILES: Final = frozenset({"slos/v1", "tests/v1"})

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "mesh/v1": (
        "listen[].tls",
        "listen[].client_certs",
        "auth.api_keys.prefix",
        "auth.jwt",
        "admin.roles",
        "state.store",
        "state.on_outage",
        "torchserve_compat",
    ),
    "limits/v1": (
        "tiers.*.priority",
        "tiers.*.weight",
        "tiers.*.in_flight",
        "tiers.*.queue",
        "shared",
    ),
    "tenant/v1": (
        "shadow",
        "jwt",
        "quotas",
    ),
    "route/v1": (
        "slo",
        "stream",
        "versions.*.pods.dns",
        "versions.*.pods.kubernetes",
        "versions.*.pods.balance",
        "versions.*.pods.health",
        "versions.*.pods.eject",
        "choose",
        "canary",
        "shadow",
        "retry",
        "hedge",
        "cache",
    ),
}

# Keys with behaviour for one value only.
ONLY_VALUES: Final[Mapping[str, Mapping[str, str]]] = {"mesh/v1": {"auth.api_keys.header": "authorization"}}


def check(file: PolicyFile) -> list[PolicyError]:
    """One error for each key that asks for behaviour that is not there; an empty list asks for none."""
    if file.root is None:
        return []
    if file.kind.tag in WHOLE_FILES:
        return [PolicyError(file.path, 1, 1, f"not available yet: {file.kind.tag}", "Remove the file for now.")]
    return [*_missing_keys(file, file.root), *_missing_values(file, file.root)]


def _missing_keys(file: PolicyFile, root: MappingNode) -> Iterator[PolicyError]:
    for path in KEYS.get(file.kind.tag, ()):
        for found in find(root, path):
            if not _asks_for_nothing(found):
                yield PolicyError(
                    file.path, found.line, found.column, f"not available yet: {found.name}", "Remove it for now."
                )


def _missing_values(file: PolicyFile, root: MappingNode) -> Iterator[PolicyError]:
    for path, available in ONLY_VALUES.get(file.kind.tag, {}).items():
        for found in find(root, path):
            if isinstance(found.node, Scalar) and found.node.value != available:
                problem = f"not available yet: {found.name} {quoted(found.node.text)}"
                yield PolicyError(file.path, found.line, found.column, problem, f"Write {available} for now.")


def _asks_for_nothing(found: Found) -> bool:
    return isinstance(found.node, Sequence) and not found.node.items
