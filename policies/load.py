"""Loads a policy directory: one whole snapshot, or every error at once with its place and fix."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from policies import (
    alert_receivers,
    availability,
    budgets,
    canaries,
    consistency,
    drifts,
    expectations,
    grammar,
    identities,
    listeners,
    objectives,
    references,
    samples,
    seal,
    shadows,
    span_exports,
)
from policies.compilation import compile_snapshot
from policies.directory import UnreadableError, list_policy_files, read_policy_file
from policies.document import parse
from policies.errors import PolicyError, PolicyRefused
from policies.kinds import TESTS, PolicyFile, kind_at
from policies.nodes import plain
from policies.pasted import SECRETS, without_secrets
from policies.schema.limits import LimitsFile
from policies.schema.mesh import MeshFile
from policies.schema.route import RouteFile
from policies.schema.slos import SlosFile
from policies.schema.tenant import TenantFile
from policies.schema.written import Written
from policies.snapshot.generation import Snapshot

__all__ = ["PolicyError", "PolicyRefused", "load_directory"]

MAX_ERRORS_PER_FILE: Final = 100
MAX_ERRORS: Final = 1000

Shape = TypeVar("Shape", bound=Written)


def load_directory(path: str | Path, new_seal: seal.Seal | None = None) -> Snapshot:
    """The snapshot that a policy directory describes, with generation 0.

    Args:
        new_seal: is heeded instead of the directory's own: files that are not as it says are refused.

    Raises:
        PolicyRefused: with all errors of all files; nothing of the directory is to be used.
    """
    directory = Path(path)
    if not directory.is_dir():
        raise PolicyRefused([PolicyError(".", 1, 1, f"{directory} is not a directory", "Name a policy directory.")])
    paths, errors = list_policy_files(directory)
    files: list[PolicyFile] = []
    digests: dict[str, str] = {}
    for file_path in paths:
        file, file_errors = _load_file(directory, file_path, digests)
        files.append(file)
        errors += file_errors
    # Files that are not those that were sealed are half written, or not meant yet: no use to say what is wrong in them.
    broken = seal.check(directory, digests) if new_seal is None else seal.compare(new_seal, digests)
    if broken:
        raise PolicyRefused(_bounded(broken))
    for later in _contradictions(files):
        errors = _at_new_places(errors, later)
    if errors:
        raise PolicyRefused(_bounded(errors))
    return _compile(files)


def _contradictions(files: list[PolicyFile]) -> Iterator[list[PolicyError]]:
    """What is wrong between values and between files, one subject after the other."""
    meant = [availability.available_part(file) for file in files]
    yield references.check(meant)
    yield consistency.check(files)
    yield listeners.check(files)
    yield objectives.check(files)
    yield alert_receivers.check(files)
    yield span_exports.check(files)
    yield identities.check(meant)
    yield budgets.check(meant)
    yield canaries.check(meant)
    yield shadows.check(meant)
    yield drifts.check(meant)
    yield samples.check(meant)
    yield expectations.check(meant)


def _load_file(directory: Path, path: str, digests: dict[str, str]) -> tuple[PolicyFile, list[PolicyError]]:
    """One file, as far as it can be understood by itself; its digest is added to the others'."""
    kind = kind_at(path)
    assert kind is not None  # noqa: S101 - the list of files holds only those that the layout knows
    try:
        content = read_policy_file(directory, path)
    except UnreadableError as error:
        return PolicyFile(path, kind, None), [PolicyError(path, 1, 1, error.problem, error.fix)]
    digests[path] = seal.digest_of(content)
    document = parse(content, path)
    file = PolicyFile(path, kind, document.root)
    errors = [*document.errors, *_secrets(content, path)]
    if document.root is not None:
        errors = _at_new_places(errors, [*_grammar_errors(file), *availability.check(file)])
    return file, errors


def _grammar_errors(file: PolicyFile) -> list[PolicyError]:
    # What is refused as a whole is not picked to pieces as well.
    root = availability.available_part(file).root
    return [] if root is None else grammar.check(root, file.kind.shape, file.path)


def _at_new_places(told: list[PolicyError], later: list[PolicyError]) -> list[PolicyError]:
    """Both, less the later ones at places already told of: one mistake is told once, by who saw it first."""
    places = {(error.file, error.line, error.column) for error in told}
    return told + [error for error in later if (error.file, error.line, error.column) not in places]


def _secrets(content: bytes, path: str) -> Iterator[PolicyError]:
    """Keys and tokens that somebody pasted, in a value or a comment; the error does not repeat them."""
    # A character for each byte: places are told by bytes here, and a file may be no text at all.
    text = content.decode("latin-1")
    for secret in SECRETS:
        for match in secret.looks.finditer(text):
            # In quotes, a value stands where its quote does, and one mistake is told once.
            start = match.start() - (text[match.start() - 1 : match.start()] in ("'", '"'))
            line = text.count("\n", 0, start) + 1
            yield PolicyError(path, line, start - text.rfind("\n", 0, start), secret.problem, secret.fix)


def _bounded(errors: list[PolicyError]) -> list[PolicyError]:
    """The first errors of each file and of the directory, and one that says that there are more."""
    counts: Counter[str] = Counter()
    kept: list[PolicyError] = []
    for error in sorted({_without_secrets(error) for error in errors}):
        counts[error.file] += 1
        if counts[error.file] <= MAX_ERRORS_PER_FILE:
            kept.append(error)
        elif counts[error.file] == MAX_ERRORS_PER_FILE + 1:
            last = kept[-1]
            kept.append(PolicyError(last.file, last.line, last.column, "the file has more errors", "Mend these first."))
    if len(kept) > MAX_ERRORS:
        last = kept[MAX_ERRORS - 1]
        more = PolicyError(last.file, last.line, last.column, "other files have more errors", "Mend these first.")
        return [*kept[:MAX_ERRORS], more]
    return kept


def _without_secrets(error: PolicyError) -> PolicyError:
    """What is told of a file is kept in logs for ever, and a value may be a key that stands where none belongs."""
    return replace(error, problem=without_secrets(error.problem), fix=without_secrets(error.fix))


def _compile(files: list[PolicyFile]) -> Snapshot:
    (mesh,) = _written(files, MeshFile)
    limits = _written(files, LimitsFile)
    slos = _written(files, SlosFile)
    return compile_snapshot(
        mesh,
        limits[0] if limits else None,
        _written(files, TenantFile),
        _written(files, RouteFile),
        slos[0] if slos else None,
        [test for file in files if file.kind is TESTS for test in expectations.compiled(file)],
    )


def _written(files: list[PolicyFile], shape: type[Shape]) -> list[Shape]:
    return [msgspec.convert(plain(file.root), shape) for file in files if file.root and file.kind.shape is shape]
