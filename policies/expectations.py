"""tests/*.yaml: each asks for something that can be asked, and expects something that can be decided."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from policies import units
from policies.budgets import LARGEST_SHARE
from policies.errors import PolicyError, quoted
from policies.kinds import ROUTE, TENANT, TESTS, PolicyFile
from policies.nodes import Entry, Node, Scalar, entry_of, find, plain, text_of
from policies.nodes import Mapping as MappingNode
from policies.references import near_name
from policies.schema.tests import TestsFile, TestWritten
from policies.snapshot.route import READ_HEADERS
from policies.snapshot.tests import PolicyTest

ADMITTED: Final = 200
NOT_FOUND: Final = "404"
# A decision admits or refuses; nothing between is decided.
FIRST_REFUSAL: Final = 400
CREDENTIALS: Final = ("authorization", "cookie")
_NEAR: Final = 0.75  # of difflib's ratio: a letter more or less
_HEADER: Final = "header:"


class _Mistake(NamedTuple):
    line: int
    column: int
    problem: str
    fix: str


@dataclass(frozen=True, slots=True)
class _Known:
    """Names that tests may use; None for what could not be read and is told elsewhere.

    Attributes:
        versions, shadows: of each model.
        has_canary: of each model whose file can be read.
        headers: by which each model's file decides.
        quotas: of each tenant.
    """

    versions: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    shadows: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    has_canary: Mapping[str, bool] = field(default_factory=dict)
    headers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    quotas: Mapping[str, frozenset[str] | None] = field(default_factory=dict)


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every test that asks for what there is not, or expects what is never decided."""
    listed = list(files)
    routes = [file for file in listed if file.kind is ROUTE]
    known = _Known(
        versions={file.stem: _below(file, "versions.*") for file in routes},
        shadows={file.stem: _names(file, "shadow[]") for file in routes},
        has_canary={file.stem: entry_of(file.root, "canary") is not None for file in routes if file.root is not None},
        headers={file.stem: _deciding_headers(file.root) for file in routes if file.root is not None},
        quotas={file.stem: _names(file, "quotas[]") for file in listed if file.kind is TENANT},
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
        canary_share=None if written.canary_share is None else units.fraction(written.canary_share),
        expect_shadows=None if expect.shadow is None else tuple(sorted(expect.shadow)),
    )


def _below(file: PolicyFile, path: str) -> frozenset[str] | None:
    if file.root is None:
        return None
    return frozenset(found.name.partition(".")[2] for found in find(file.root, path))


def _names(file: PolicyFile, path: str) -> frozenset[str] | None:
    if file.root is None:
        return None
    return frozenset(text_of(found.node, "name") for found in find(file.root, path))


def _deciding_headers(route: Node) -> frozenset[str]:
    """As :func:`policies.snapshot.route.deciding_headers`, of a file whose mistakes are not all known yet."""
    written = {found.name.rpartition(".")[2] for found in find(route, "choose[].when.header.*")}
    keys = [found.node for path in ("canary.sticky_by[]", "shadow[].sample_by[]") for found in find(route, path)]
    texts = [key.text for key in keys if isinstance(key, Scalar)]
    return frozenset(written | {text.removeprefix(_HEADER) for text in texts if text.startswith(_HEADER)})


def _mistakes(test: Node, known: _Known) -> Iterator[_Mistake]:
    request, expect, used = (entry_of(test, name) for name in ("request", "expect", "used"))
    if request and expect:
        yield from _asked(request.value, text_of(expect.value, "status"), known)
        yield from _version_expected(request.value, expect.value, known)
        yield from _shadows_expected(request.value, expect.value, known)
    if request:
        yield from _scopes_of_nobody(request.value)
        yield from _credentials_in_headers(request.value)
        yield from _misspelt_headers(request.value, known)
    if expect:
        yield from _never_decided(expect.key, expect.value)
    if request:
        yield from _share_of_nothing(request.value, entry_of(test, "canary_share"), known)
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


def _shadows_expected(request: Node, expect: Node, known: _Known) -> Iterator[_Mistake]:
    model = text_of(request, "model")
    shadows = known.shadows.get(model)
    for shadow in find(expect, "shadow[]"):
        if shadows is not None and isinstance(shadow.node, Scalar) and shadow.node.text not in shadows:
            problem = f"the model {model} has no shadow {quoted(shadow.node.text)}"
            yield _at(shadow.node, problem, near_name(shadow.node.text, shadows, "shadow", is_item=True))


def _share_of_nothing(request: Node, share: Entry | None, known: _Known) -> Iterator[_Mistake]:
    model = text_of(request, "model")
    if share and known.has_canary.get(model) is False:
        yield _at(share.key, f"the model {model} has no canary", "Add one to its route, or remove canary_share.")


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


def _misspelt_headers(request: Node, known: _Known) -> Iterator[_Mistake]:
    """Headers by which nothing is decided are sent by many a caller; one that is nearly another is a mistake."""
    deciding = {*READ_HEADERS, *known.headers.get(text_of(request, "model"), ())}
    for header in find(request, "headers.*"):
        name = header.name.removeprefix("headers.")
        close = difflib.get_close_matches(name, sorted(deciding), n=1, cutoff=_NEAR)
        if close and name not in deciding:
            problem, fix = f"nothing is decided by the header {name}", f'Did you mean "{close[0]}"?'
            yield _Mistake(header.line, header.column, problem, fix)


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
