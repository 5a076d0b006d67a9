"""tests/*.yaml: each asks for something that can be asked, and expects something that can be decided."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from policies import units
from policies.budgets import LARGEST_SHARE
from policies.errors import PolicyError, quoted
from policies.kinds import ROUTE, TENANT, TESTS, PolicyFile
from policies.nodes import Mapping as MappingNode
from policies.nodes import Node, Scalar, entry_of, find, plain, text_of
from policies.references import near_name
from policies.schema.tests import TestsFile, TestWritten
from policies.snapshot import PolicyTest

ADMITTED: Final = 200
NOT_FOUND: Final = "404"
# A decision admits or refuses; nothing between is decided.
FIRST_REFUSAL: Final = 400
CREDENTIALS: Final = ("authorization", "cookie")


class _Mistake(NamedTuple):
    line: int
    column: int
    problem: str
    fix: str


@dataclass(frozen=True, slots=True)
class _Known:
    """Names that tests may use; None for what could not be read and is told elsewhere.

    Attributes:
        versions: of each model.
        quotas: of each tenant.
    """

    versions: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    quotas: Mapping[str, frozenset[str] | None] = field(default_factory=dict)


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every test that asks for what there is not, or expects what is never decided."""
    listed = list(files)
    known = _Known(
        versions={file.stem: _below(file, "versions.*") for file in listed if file.kind is ROUTE},
        quotas={file.stem: _quotas(file) for file in listed if file.kind is TENANT},
    )
    errors: list[PolicyError] = []
    for file in listed:
        if file.kind is TESTS and file.root is not None:
            for test in find(file.root, "tests[]"):
                errors += [PolicyError(file.path, *mistake) for mistake in _mistakes(test.node, known)]
    return errors


def compiled(file: PolicyFile) -> Iterator[PolicyTest]:
    """The tests of one file that has been checked, each with its place."""
    assert file.root is not None  # noqa: S101 - only what has been checked is compiled
    written = msgspec.convert(plain(file.root), TestsFile)
    for test, found in zip(written.tests, find(file.root, "tests[]"), strict=True):
        yield _test(test, f"{file.path}:{found.line}:{found.column}")


def _test(written: TestWritten, place: str) -> PolicyTest:
    request, expect = written.request, written.expect
    return PolicyTest(
        name=written.name,
        place=place,
        model=request.model,
        tenant=request.tenant or "",
        version=request.version or "",
        scopes=tuple(request.scopes or ()),
        headers=dict(request.headers or {}),
        api=request.api,
        used={name: units.fraction(share) for name, share in (written.used or {}).items()},
        expect_status=expect.status,
        expect_version=expect.version or "",
        expect_reason=expect.reason or "",
    )


def _below(file: PolicyFile, path: str) -> frozenset[str] | None:
    if file.root is None:
        return None
    return frozenset(found.name.partition(".")[2] for found in find(file.root, path))


def _quotas(file: PolicyFile) -> frozenset[str] | None:
    if file.root is None:
        return None
    return frozenset(text_of(found.node, "name") for found in find(file.root, "quotas[]"))


def _mistakes(test: Node, known: _Known) -> Iterator[_Mistake]:
    request, expect, used = (entry_of(test, name) for name in ("request", "expect", "used"))
    if request and expect:
        yield from _asked(request.value, text_of(expect.value, "status"), known)
        yield from _version_expected(request.value, expect.value, known)
    if request:
        yield from _scopes_of_nobody(request.value)
        yield from _credentials_in_headers(request.value)
    if expect:
        yield from _never_decided(expect.key, expect.value)
    if request and used and isinstance(used.value, MappingNode):
        yield from _used(used.value, text_of(request.value, "tenant"), known)


def _asked(request: Node, status: str, known: _Known) -> Iterator[_Mistake]:
    """A test may ask for what there is not when it expects to be told so."""
    model, version = entry_of(request, "model"), entry_of(request, "version")
    if status == NOT_FOUND or model is None or not isinstance(model.value, Scalar):
        return
    if model.value.text not in known.versions:
        problem = f"there is no model {quoted(model.value.text)}"
        yield _at(model.value, problem, near_name(model.value.text, frozenset(known.versions), "model", is_item=False))
    elif version and isinstance(version.value, Scalar):
        yield from _unknown_version(version.value, model.value.text, known)


def _unknown_version(version: Scalar, model: str, known: _Known) -> Iterator[_Mistake]:
    versions = known.versions.get(model)
    if versions is not None and version.text not in versions:
        problem = f"the model {model} has no version {quoted(version.text)}"
        yield _at(version, problem, near_name(version.text, versions, "version", is_item=False))


def _version_expected(request: Node, expect: Node, known: _Known) -> Iterator[_Mistake]:
    version = entry_of(expect, "version")
    if version and isinstance(version.value, Scalar):
        yield from _unknown_version(version.value, text_of(request, "model"), known)


def _scopes_of_nobody(request: Node) -> Iterator[_Mistake]:
    scopes = entry_of(request, "scopes")
    if scopes and not entry_of(request, "tenant"):
        yield _at(scopes.key, "a caller whom nobody knows has no scopes", "Add a tenant, or remove scopes.")


def _credentials_in_headers(request: Node) -> Iterator[_Mistake]:
    for header in find(request, "headers.*"):
        name = header.name.removeprefix("headers.")
        if name in CREDENTIALS:
            problem = f"{name} decides nothing here: the caller is whom tenant and scopes name"
            yield _Mistake(header.line, header.column, problem, "Remove it.")


def _never_decided(key: Scalar, expect: Node) -> Iterator[_Mistake]:
    status, reason = entry_of(expect, "status"), entry_of(expect, "reason")
    number = status.value.value if status and isinstance(status.value, Scalar) else None
    if isinstance(expect, MappingNode) and not expect.entries:
        yield _at(key, "nothing is expected, so this test holds whatever is decided", "Add a status.")
    if status and isinstance(number, int) and ADMITTED != number < FIRST_REFUSAL:
        yield _at(status.value, f"{number} is never decided", "Write 200, or the status of a refusal.")
    elif status and reason and number == ADMITTED:
        yield _at(reason.key, "what is answered with 200 is not refused", "Remove reason, or write its status.")


def _used(used: MappingNode, tenant: str, known: _Known) -> Iterator[_Mistake]:
    quotas = known.quotas.get(tenant) if tenant else frozenset()
    for name, entry in used.entries.items():
        share = units.quantity(entry.value.text, "percent") if isinstance(entry.value, Scalar) else None
        if not tenant:
            yield _at(entry.key, "a caller whom nobody knows has no quota", "Add a tenant, or remove used.")
        elif quotas is not None and tenant in known.quotas and name not in quotas:
            problem = f"the tenant {tenant} has no quota {quoted(name)}"
            yield _at(entry.key, problem, near_name(name, quotas, "quota", is_item=False))
        elif share is not None and share > LARGEST_SHARE:
            yield _at(entry.value, f"{units.percent_text(share)} is more than 1000%", "Write 1000% or less.")


def _at(node: Node, problem: str, fix: str) -> _Mistake:
    return _Mistake(node.line, node.column, problem, fix)
