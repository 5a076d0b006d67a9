"""Every name resolves, in its file and across files, and no name is given twice."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from policies.document import as_list_item
from policies.errors import PolicyError, quoted
from policies.kinds import LIMITS, MESH, ROUTE, SLOS, TENANT, PolicyFile
from policies.nodes import Found, Scalar, find
from policies.snapshot.tenant import EVERY_MODEL

# Looking for a near name takes time with each known one, and thousands of files may name the same missing thing.
MAX_COMPARED_NAMES: Final = 500

# Where each kind of file names something, and what it names there.
NAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "mesh/v1": {"admin.roles[].on[]": "model"},
    "limits/v1": {
        "shared[].applies_to.route": "model",
        "shared[].applies_to.route[]": "model",
        "shared[].applies_to.tenant[]": "tenant",
        "shared[].applies_to.tier[]": "tier",
    },
    "slos/v1": {"slos[].route": "model"},
    "tenant/v1": {"tier": "tier", "may_call[]": "model", "jwt.issuer": "issuer"},
    "route/v1": {
        "slo": "objective",
        "slo[]": "objective",
        "stable": "version",
        "choose[].use": "version",
        "choose[].when.tenant[]": "tenant",
        "choose[].when.tier[]": "tier",
        "canary.version": "version",
        "canary.judge.compare_to": "version",
        "canary.never.tenant[]": "tenant",
        "canary.never.tier[]": "tier",
        "shadow[].version": "version",
        "shadow[].never.tenant[]": "tenant",
        "shadow[].never.tier[]": "tier",
        "record.never.tenant[]": "tenant",
        "record.never.tier[]": "tier",
        "drift.reference.version": "version",
        "samples.never.tenant[]": "tenant",
        "samples.never.tier[]": "tier",
    },
    "tests/v1": {"tests[].request.tenant": "tenant"},
}

# Names that must differ from each other within one file.
DISTINCT: Final[Mapping[str, tuple[str, ...]]] = {
    "mesh/v1": ("auth.jwt[].name", "admin.roles[].name"),
    "limits/v1": ("shared[].name",),
    "slos/v1": ("slos[].name",),
    "tenant/v1": ("keys[].id", "quotas[].name"),
    "route/v1": ("choose[].name", "shadow[].name"),
    "tests/v1": ("tests[].name",),
}

# The file's name says the same as this key, so that a name leads to its file.
STEMS: Final[Mapping[str, str]] = {"tenant/v1": "name", "route/v1": "model"}

# What there is of each sort; None where the file that says so could not be read, so that nothing follows.
Names = Mapping[str, frozenset[str] | None]


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every name that leads nowhere, that is given twice, or that its file contradicts."""
    readable = [file for file in files if file.root is not None]
    names = _names(list(files))
    errors: list[PolicyError] = []
    for file in readable:
        errors += _unresolved(file, names)
        errors += _repeated(file)
        errors += _stem_mismatch(file)
    return errors


def texts(file: PolicyFile, path: str) -> Iterator[tuple[Scalar, Found]]:
    """Each text that a path of a file leads to; what is no text has been told elsewhere."""
    if file.root is not None:
        for found in find(file.root, path):
            if isinstance(found.node, Scalar) and isinstance(found.node.value, str):
                yield found.node, found


def _names(files: list[PolicyFile]) -> dict[str, frozenset[str] | None]:
    return {
        "tier": _names_in(files, LIMITS.tag, "tiers.*"),
        "objective": _names_in(files, SLOS.tag, "slos[].name"),
        "issuer": _names_in(files, MESH.tag, "auth.jwt[].name"),
        "model": frozenset(file.stem for file in files if file.kind is ROUTE),
        "tenant": frozenset(file.stem for file in files if file.kind is TENANT),
    }


def _names_in(files: list[PolicyFile], tag: str, path: str) -> frozenset[str] | None:
    """The names that one kind of file gives; none when there is no such file, None when it could not be read."""
    names: set[str] = set()
    for file in files:
        if file.kind.tag == tag:
            if file.root is None:
                return None
            for found in find(file.root, path):
                is_key = path.endswith("*")
                names.add(found.name.rsplit(".", 1)[-1] if is_key else getattr(found.node, "text", ""))
    return frozenset(names)


def _unresolved(file: PolicyFile, names: Names) -> Iterator[PolicyError]:
    assert file.root is not None  # noqa: S101 - only readable files come here
    versions = frozenset(found.name.removeprefix("versions.") for found in find(file.root, "versions.*"))
    for path, sort in NAMED.get(file.kind.tag, {}).items():
        known = versions if sort == "version" else names[sort]
        for scalar, _ in texts(file, path):
            is_known = known is None or scalar.text in known
            if not is_known and not (sort == "model" and scalar.text == EVERY_MODEL):
                problem = f"there is no {sort} {quoted(scalar.text)}"
                is_item = path.endswith("[]")
                fix = near_name(scalar.text, known or frozenset(), sort, is_item)
                yield PolicyError(file.path, scalar.line, scalar.column, problem, fix)


def near_name(name: str, known: frozenset[str], sort: str, is_item: bool) -> str:
    """What to do about a name that leads nowhere; only an item of a list can simply go."""
    compared = sorted(known)[:MAX_COMPARED_NAMES]
    if close := difflib.get_close_matches(name, compared, n=1):
        return f'Did you mean "{close[0]}"?'
    if known:
        shown = [as_list_item(one) for one in sorted(known)[:8]]
        return f"Known here: {', '.join(shown)}{', …' if len(known) > len(shown) else ''}."
    homes = {
        "tier": "limits.yaml",
        "model": "a file in routes/",
        "tenant": "a file in tenants/",
        "objective": "slos.yaml",
        "issuer": "auth.jwt of mesh.yaml",
        "version": "versions",
        "quota": "quotas of the tenant",
        "shadow": "shadow of the route",
    }
    return f"Add it to {homes[sort]}{', or remove it here' if is_item else ''}."


def _repeated(file: PolicyFile) -> Iterator[PolicyError]:
    for path in DISTINCT.get(file.kind.tag, ()):
        first_lines: dict[str, int] = {}
        for scalar, _ in texts(file, path):
            if scalar.text in first_lines:
                problem = f"{quoted(scalar.text)} is here twice, first in line {first_lines[scalar.text]}"
                yield PolicyError(file.path, scalar.line, scalar.column, problem, "Give one of them another name.")
            first_lines.setdefault(scalar.text, scalar.line)


def _stem_mismatch(file: PolicyFile) -> Iterator[PolicyError]:
    key = STEMS.get(file.kind.tag)
    for scalar, _ in texts(file, key) if key else ():
        if scalar.text != file.stem:
            problem = f"the {key} is {quoted(scalar.text)} and the file is {file.stem}.yaml"
            fix = f"Write {key}: {file.stem}, or give the file the other name."
            yield PolicyError(file.path, scalar.line, scalar.column, problem, fix)
