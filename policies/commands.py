"""What `penstock policy check`, `fmt` and `schema` do; each returns the exit code: 0 ok, 1 failed check, 2 usage."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TextIO

import msgspec

from policies import seal as seals
from policies.directory import UnreadableError, list_policy_files, read_policy_file
from policies.errors import PolicyError, PolicyRefused
from policies.format import SCHEMA_FILE, CannotFormatError, format_file
from policies.json_schema import schema_text
from policies.kinds import MESH, kind_at
from policies.load import load_directory
from policies.notes import notes
from policies.snapshot.generation import Snapshot

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
_SHOWN_DIGEST_CHARACTERS: Final = 12


def check(
    directory: str,
    json: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
    load: Callable[[str], Snapshot] = load_directory,
) -> int:
    """Say whether a policy directory would be taken, and if not, everything that keeps it from that.

    Args:
        load: returns the directory's snapshot or raises `PolicyRefused`, as the gateway does.
    """
    out, err = out or sys.stdout, err or sys.stderr
    if not Path(directory).is_dir():
        return _no_directory(directory, json, out, err)
    try:
        snapshot = load(directory)
    except PolicyRefused as refused:
        _print_errors(directory, refused.errors, json, out, err)
        return FAILED
    told = notes(snapshot, time.time())
    if json:
        _print_json(out, ok=True, errors=[], notes=told, **_counts(snapshot))
    else:
        counts = ", ".join(_counted(count, noun) for noun, count in _nouns(snapshot).items())
        print(f"ok: {counts} (digest {snapshot.digest[:_SHOWN_DIGEST_CHARACTERS]})", file=out)
        for note in told:
            print(f"note: {note}", file=out)
    return OK


def fmt(
    directory: str, check_only: bool = False, json: bool = False, out: TextIO | None = None, err: TextIO | None = None
) -> int:
    """Bring every policy file and the schema beside them into their usual form, or with `check_only` say which are not.

    In JSON, `changed` names the files that were, or with `check_only` would be, changed; `errors` are of files left as
    they are; `notes` say what is to be done next.
    """
    out, err = out or sys.stdout, err or sys.stderr
    if not Path(directory).is_dir():
        return _no_directory(directory, json, out, err)
    changed, errors = _format_all(Path(directory), check_only)
    is_ok = not errors and not (check_only and changed)
    told = [] if check_only or not changed else _broken_seal(directory)
    if json:
        _print_json(out, ok=is_ok, changed=changed, errors=errors, notes=told)
    else:
        for file in changed:
            print(f"{file} {_not_usual(file) if check_only else 'written'}", file=out)
        for note in told:
            print(f"note: {note}", file=out)
        for error in errors:
            print(f"{error} The file is left as it is.", file=err)
    return OK if is_ok else FAILED


def seal(
    directory: str,
    made_at: str,
    action: Literal["make", "check", "remove"] = "make",
    json: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
    tried: Callable[[Snapshot], list[PolicyError]] = lambda _: [],
) -> int:
    """Write the digests of a directory's files beside them, say whether they still hold, or take them away again.

    What would be refused is not sealed.

    Args:
        tried: returns the tests that a snapshot fails, as the gateway tries them.
    """
    out, err = out or sys.stdout, err or sys.stderr
    root = Path(directory)
    if not root.is_dir():
        return _no_directory(directory, json, out, err)
    try:
        done = _sealed(root, made_at, action, tried)
    except PolicyRefused as refused:
        _print_errors(directory, refused.errors, json, out, err)
        return FAILED
    if json:
        _print_json(out, ok=True, done=done, errors=[])
    else:
        print(done, file=out)
    return OK


def schema(out: TextIO | None = None) -> int:
    """Print the JSON Schema of policy files, for editors."""
    (out or sys.stdout).write(schema_text())
    return OK


def _sealed(
    root: Path,
    made_at: str,
    action: Literal["make", "check", "remove"],
    tried: Callable[[Snapshot], list[PolicyError]],
) -> str:
    match action:
        case "make":
            return _make_seal(root, made_at, tried)
        case "check":
            return _check_seal(root)
        case "remove":
            return _remove_seal(root)


def _make_seal(root: Path, made_at: str, tried: Callable[[Snapshot], list[PolicyError]]) -> str:
    made = seals.make(root, made_at)
    # An edit since then is another set of files, and nobody has sealed that.
    if failed := tried(load_directory(root, made)):
        raise PolicyRefused(failed)
    try:
        _replace(root / seals.SEAL_FILE, seals.text_of(made))
    except OSError as error:
        raise _unwritable(error) from None
    return f"sealed: {_counted(len(made.files), 'file')}; after an edit, run penstock policy seal again"


def _check_seal(root: Path) -> str:
    if not seals.is_sealed(root):
        fix = "Run penstock policy seal DIR, if it should be sealed."
        raise PolicyRefused([PolicyError(seals.SEAL_FILE, 1, 1, "the directory has no seal", fix)])
    digests = seals.digests_of(root)
    # A file that the layout does not know is in no seal, and it is new all the same.
    _, misplaced = list_policy_files(root)
    strangers = [error for error in misplaced if error.file != MESH.place]
    if errors := [*seals.check(root, digests), *strangers]:
        raise PolicyRefused(errors)
    return f"ok: {_counted(len(digests), 'file')} as sealed"


def _broken_seal(directory: str) -> list[str]:
    """What to do about a seal that no longer holds."""
    root = Path(directory)
    if not seals.check(root, seals.digests_of(root)):
        return []
    return [f"these are not the files that were sealed: run penstock policy seal {directory} again"]


def _remove_seal(root: Path) -> str:
    if not seals.is_sealed(root):
        return "the directory has no seal"
    try:
        (root / seals.SEAL_FILE).unlink()
    except OSError as error:
        raise _unwritable(error) from None
    return "the seal is removed: every whole edit counts again"


def _unwritable(error: OSError) -> PolicyRefused:
    problem = f"the seal cannot be written: {error.strerror or type(error).__name__}"
    return PolicyRefused([PolicyError(seals.SEAL_FILE, 1, 1, problem, "Check that its folder may be written.")])


def _no_directory(directory: str, json: bool, out: TextIO, err: TextIO) -> int:
    error = PolicyError(directory, 1, 1, "this is not a directory", "Name the directory that holds mesh.yaml.")
    if json:
        _print_json(out, ok=False, errors=[error])
    else:
        print(f"{directory} is not a directory. {error.fix}", file=err)
    return USAGE


def _print_json(out: TextIO, **report: Any) -> None:
    print(msgspec.json.encode(report).decode(), file=out)


def _print_errors(directory: str, errors: tuple[PolicyError, ...], json: bool, out: TextIO, err: TextIO) -> None:
    """The places are given from where the reader is, so that a terminal or editor can open them."""
    placed = [msgspec.structs.replace(error, file=os.path.normpath(f"{directory}/{error.file}")) for error in errors]
    if json:
        _print_json(out, ok=False, errors=placed)
        return
    for error in placed:
        print(error, file=err)
    print(f"{_counted(len(errors), 'error')} in {directory}: nothing of it is used", file=err)


def _nouns(snapshot: Snapshot) -> dict[str, int]:
    return {
        "tier": len(snapshot.tiers),
        "tenant": len(snapshot.tenants),
        "route": len(snapshot.routes),
        "slo": len(snapshot.objectives),
        "test": len(snapshot.tests),
    }


def _counts(snapshot: Snapshot) -> dict[str, str | int]:
    return {"digest": snapshot.digest, **{f"{noun}s": count for noun, count in _nouns(snapshot).items()}}


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _not_usual(file: str) -> str:
    return "is missing or old" if Path(file).name == SCHEMA_FILE else "is not in its usual form"


def _format_all(root: Path, check_only: bool) -> tuple[list[str], list[PolicyError]]:
    """The files that were, or with `check_only` would be, changed, and why others are left as they are."""
    changed: list[str] = []
    errors: list[PolicyError] = []
    paths, _ = list_policy_files(root)
    # Without mesh.yaml this may be any folder, and a schema is nothing to leave there.
    has_schema = MESH.place in paths
    for path in [*paths, *([SCHEMA_FILE] if has_schema else [])]:
        try:
            if _format_one(root, path, has_schema, check_only):
                changed.append(str(root / path))
        except CannotFormatError as error:
            errors.append(PolicyError(str(root / path), error.line, error.column, error.problem, error.fix))
        except UnreadableError as error:
            errors.append(PolicyError(str(root / path), 1, 1, error.problem, error.fix))
        except OSError as error:
            problem = f"the file cannot be written: {error.strerror or type(error).__name__}"
            errors.append(PolicyError(str(root / path), 1, 1, problem, "Check that its folder may be written."))
    return changed, errors


def _format_one(root: Path, path: str, has_schema: bool, check_only: bool) -> bool:
    """Whether a file was (or with `check_only`, would be) changed."""
    file = root / path
    if path == SCHEMA_FILE:
        content = file.read_bytes() if file.is_file() else None
        formatted = schema_text().encode()
    else:
        kind = kind_at(path)
        assert kind is not None  # noqa: S101 - the list of files holds only those that the layout knows
        content = read_policy_file(root, path)
        schema = f"{'../' * path.count('/')}{SCHEMA_FILE}" if has_schema else ""
        formatted = format_file(content, path, kind, schema).encode()
        # A mounted volume links its files: what is replaced is the file, not the link.
        file = Path(os.path.realpath(file))
    if formatted == content:
        return False
    if not check_only:
        _replace(file, formatted)
    return True


def _replace(file: Path, content: bytes) -> None:
    """Put new content in a file's place whole: a reader sees the old or the new, never a part."""
    # The name is hidden, so that a running mesh does not take it for policy.
    temporary = file.with_name(f".{file.name}.fmt-{os.getpid()}")
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if file.exists():
            temporary.chmod(file.stat().st_mode & 0o777)
        temporary.replace(file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
