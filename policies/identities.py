"""Every credential leads to one tenant, every issuer can be asked for its keys, and every role is somebody's."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

from policies import units
from policies.errors import PolicyError, quoted
from policies.kinds import MESH, TENANT, PolicyFile
from policies.listeners import is_loopback
from policies.local_key import LOCAL_KEY_ID
from policies.nodes import Scalar, entry_of, find, text_of
from policies.permissions import EVERY_ACTION, PERMISSIONS, allowed_by
from policies.references import texts

SUBJECTS: Final = ("group:", "san:", "key:")
# What sha256sum prints of no text and of an empty line: the variable that held the key was not set.
DIGESTS_OF_NOTHING: Final = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b",
)
# An issuer is not asked more often; tokens are not taken longer after their end.
SHORTEST_REFRESH_S: Final = 10.0
LONGEST_LEEWAY_S: Final = 300.0


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every credential of two tenants, key that never works, issuer that cannot be asked and role of nobody."""
    known = sorted(files, key=lambda file: file.kind is not MESH)
    tenants = [file for file in known if file.kind is TENANT and file.root is not None]
    meshes = [file for file in known if file.kind is MESH and file.root is not None]
    errors: list[PolicyError] = []
    for tenant in tenants:
        errors += [*_reserved_keys(tenant), *_keys_that_never_work(tenant), *_keys_of_nothing(tenant)]
    errors += [*_of_two_tenants(tenants, "keys[].sha256", "this key is also in {0}", "Remove one of the two.")]
    errors += _of_two_tenants(
        tenants, "keys[].id", "a key in {0} has this id, and keys are revoked by it", "Give one of them another id."
    )
    errors += _of_two_tenants(
        tenants, "certificates[]", "this certificate is also that of {0}", "Remove one of the two."
    )
    errors += _tokens_of_two_tenants(tenants)
    for mesh in meshes:
        errors += [*_issuers(mesh), *_roles(mesh), *_unknown_keys_of_roles(mesh, known)]
        errors += [*_certificates_that_nobody_asks_for(mesh, tenants), *_subjects_that_nobody_has(mesh)]
    return errors


def _of_two_tenants(tenants: list[PolicyFile], path: str, problem: str, fix: str) -> Iterator[PolicyError]:
    """What would stand for two tenants; twice within one file is told as a repeated name or item where it matters."""
    owners: dict[str, str] = {}
    for file in tenants:
        for scalar, _ in texts(file, path):
            if scalar.text in owners:
                told = problem.format(owners[scalar.text])
                yield PolicyError(file.path, scalar.line, scalar.column, told, fix)
            owners.setdefault(scalar.text, f"{file.path}, line {scalar.line}")


def _tokens_of_two_tenants(tenants: list[PolicyFile]) -> Iterator[PolicyError]:
    owners: dict[tuple[str, str], str] = {}
    for file in tenants:
        jwt = entry_of(file.root, "jwt") if file.root else None
        named = entry_of(jwt.value, "tenant_id") if jwt else None
        if jwt and named and isinstance(named.value, Scalar):
            issuer = text_of(jwt.value, "issuer")
            token = (issuer, named.value.text)
            if token in owners:
                whose = f"tokens of {issuer} for {quoted(named.value.text)}"
                problem = f"{whose} are already those of {owners[token]}"
                yield PolicyError(file.path, named.value.line, named.value.column, problem, "Remove one of the two.")
            owners.setdefault(token, f"{file.path}, line {named.value.line}")


def _reserved_keys(file: PolicyFile) -> Iterator[PolicyError]:
    for scalar, _ in texts(file, "keys[].id"):
        if scalar.text == LOCAL_KEY_ID:
            problem = f'the id "{LOCAL_KEY_ID}" is kept for the key that `penstock up` makes'
            yield PolicyError(file.path, scalar.line, scalar.column, problem, "Choose another id.")


def _keys_of_nothing(file: PolicyFile) -> Iterator[PolicyError]:
    for scalar, _ in texts(file, "keys[].sha256"):
        if scalar.text in DIGESTS_OF_NOTHING:
            fix = "Write what penstock key new prints; the variable that held the key was probably empty."
            yield PolicyError(file.path, scalar.line, scalar.column, "this is the digest of no key at all", fix)


def _keys_that_never_work(file: PolicyFile) -> Iterator[PolicyError]:
    for key in find(file.root, "keys[]") if file.root else ():
        start_s = units.quantity(text_of(key.node, "not_before"), "moment")
        end_s = units.quantity(text_of(key.node, "not_after"), "moment")
        if start_s is not None and end_s is not None and end_s <= start_s:
            problem = "this key ends before it begins and never works"
            fix = "Write a not_after that is later than not_before."
            yield PolicyError(file.path, key.line, key.column, problem, fix)


def _issuers(mesh: PolicyFile) -> Iterator[PolicyError]:
    first_lines: dict[str, int] = {}
    for scalar, _ in texts(mesh, "auth.jwt[].issuer"):
        if scalar.text in first_lines:
            problem = f"the issuer in line {first_lines[scalar.text]} signs with this name too"
            fix = "Keep one of them: a token says only its issuer's address."
            yield PolicyError(mesh.path, scalar.line, scalar.column, problem, fix)
        first_lines.setdefault(scalar.text, scalar.line)
    for scalar, _ in texts(mesh, "auth.jwt[].jwks.url"):
        if scalar.text.startswith("http://") and not _is_on_loopback(scalar.text):
            problem = "keys that come over plain HTTP may be anybody's"
            yield PolicyError(mesh.path, scalar.line, scalar.column, problem, f"Write https{scalar.text[4:60]}.")
    yield from _out_of_range(
        mesh, "auth.jwt[].jwks.refresh", lambda length_s: length_s < SHORTEST_REFRESH_S, "is too often", "10m is usual."
    )
    yield from _out_of_range(
        mesh,
        "auth.jwt[].leeway",
        lambda length_s: length_s > LONGEST_LEEWAY_S,
        "is too far apart for two clocks",
        f"Write {units.duration_text(LONGEST_LEEWAY_S)} or less; 30s is usual.",
    )
    yield from _dropped_before_fetched(mesh)


def _out_of_range(
    mesh: PolicyFile, path: str, is_out: Callable[[float], bool], end: str, fix: str
) -> Iterator[PolicyError]:
    for scalar, _ in texts(mesh, path):
        length_s = units.quantity(scalar.text, "duration")
        if length_s is not None and is_out(length_s):
            yield PolicyError(mesh.path, scalar.line, scalar.column, f"{scalar.text} {end}", fix)


def _dropped_before_fetched(mesh: PolicyFile) -> Iterator[PolicyError]:
    for jwks in find(mesh.root, "auth.jwt[].jwks") if mesh.root else ():
        refresh, kept = text_of(jwks.node, "refresh"), entry_of(jwks.node, "keep_stale")
        refresh_s = units.quantity(refresh or "10m", "duration")
        kept_s = units.quantity(kept.value.text, "duration") if kept and isinstance(kept.value, Scalar) else None
        if kept and refresh_s is not None and kept_s is not None and kept_s < refresh_s:
            problem = f"keys would be dropped before they are fetched again, after {refresh or '10m'}"
            yield PolicyError(mesh.path, kept.value.line, kept.value.column, problem, "Write more; 24h is usual.")


def _is_on_loopback(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


def _roles(mesh: PolicyFile) -> Iterator[PolicyError]:
    for scalar, _ in texts(mesh, "admin.roles[].may[]"):
        if not allowed_by(scalar.text):
            problem = f"there is no permission {quoted(scalar.text)}"
            yield PolicyError(mesh.path, scalar.line, scalar.column, problem, _permission_fix(scalar.text))
    for scalar, _ in texts(mesh, "admin.roles[].subjects[]"):
        if not scalar.text.startswith(SUBJECTS) or scalar.text in SUBJECTS:
            problem = f"expected group:NAME, san:IDENTITY or key:ID, found {quoted(scalar.text)}"
            yield PolicyError(mesh.path, scalar.line, scalar.column, problem, _subject_fix(scalar.text))


def _permission_fix(written: str) -> str:
    things = sorted({permission.partition(".")[0] for permission in PERMISSIONS})
    known = [*PERMISSIONS, *(f"{thing}{EVERY_ACTION}" for thing in things)]
    if close := difflib.get_close_matches(written[:60], known, n=1):
        return f'Did you mean "{close[0]}"?'
    return f"Known here: {', '.join(PERMISSIONS)}."


def _subject_fix(written: str) -> str:
    if close := difflib.get_close_matches(f"{written.partition(':')[0][:20]}:", SUBJECTS, n=1):
        return f'Did you mean "{close[0]}{written.partition(":")[2][:60] or "NAME"}"?'
    return "Write one such as group:ml-platform."


def _unknown_keys_of_roles(mesh: PolicyFile, files: list[PolicyFile]) -> Iterator[PolicyError]:
    """Roles of keys that no tenant has; silent while a tenant's file cannot be read."""
    tenants = [file for file in files if file.kind is TENANT]
    if any(tenant.root is None for tenant in tenants):
        return
    known = {scalar.text for tenant in tenants for scalar, _ in texts(tenant, "keys[].id")}
    for scalar, _ in texts(mesh, "admin.roles[].subjects[]"):
        id_ = scalar.text.removeprefix("key:")
        if scalar.text.startswith("key:") and id_ and id_ not in known:
            close = difflib.get_close_matches(id_[:60], sorted(known)[:500], n=1)
            fix = f'Did you mean "key:{close[0]}"?' if close else "Add the key to a tenant, or remove it here."
            problem = f"no tenant has a key {quoted(id_)}"
            yield PolicyError(mesh.path, scalar.line, scalar.column, problem, fix)


def _subjects_that_nobody_has(mesh: PolicyFile) -> Iterator[PolicyError]:
    issuers = [scalar.text for scalar, _ in texts(mesh, "auth.jwt[].name")]
    for scalar, _ in texts(mesh, "admin.roles[].subjects[]"):
        if scalar.text.startswith("group:") and not issuers:
            problem = f"nobody can show that they are in {quoted(scalar.text)}"
            fix = "Add the issuer of their tokens to auth.jwt, or remove it."
            yield PolicyError(mesh.path, scalar.line, scalar.column, problem, fix)
        elif scalar.text.startswith("group:") and not _says_whose(scalar.text, issuers):
            problem = f"{quoted(scalar.text)} does not say whose group it is, and there are {len(issuers)} issuers"
            fix = f'Write "group:ISSUER/NAME", such as "group:{issuers[0]}/{scalar.text.removeprefix("group:")[:60]}".'
            yield PolicyError(mesh.path, scalar.line, scalar.column, problem, fix)
        elif scalar.text.startswith("san:") and not _asks_for_certificates(mesh, "admin"):
            problem = f"no listener that serves admin asks for a certificate, so nobody can be {quoted(scalar.text)}"
            fix = "Add tls and client_certs to that listener, or remove it."
            yield PolicyError(mesh.path, scalar.line, scalar.column, problem, fix)


def _says_whose(subject: str, issuers: list[str]) -> bool:
    """Whether a group is of one issuer: any other could give a group of its own the same name."""
    return len(issuers) == 1 or subject.removeprefix("group:").partition("/")[0] in issuers


def _certificates_that_nobody_asks_for(mesh: PolicyFile, tenants: list[PolicyFile]) -> Iterator[PolicyError]:
    if _asks_for_certificates(mesh, "inference") or _asks_for_certificates(mesh, "inference-grpc"):
        return
    for tenant in tenants:
        written = entry_of(tenant.root, "certificates") if tenant.root else None
        if written:
            problem = "no listener that serves inference asks for a certificate, so these are never shown"
            fix = "Add tls and client_certs to that listener in mesh.yaml, or remove certificates."
            yield PolicyError(tenant.path, written.key.line, written.key.column, problem, fix)


def _asks_for_certificates(mesh: PolicyFile, serves: str) -> bool:
    listens = find(mesh.root, "listen[]") if mesh.root else ()
    return any(
        entry_of(listen.node, "client_certs") is not None
        for listen in listens
        if (text_of(listen.node, "serves") or "inference") == serves
    )
