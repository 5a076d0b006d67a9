"""What `penstock policy check`, `fmt` and `schema` do; each returns the exit code: 0 ok, 1 failed check, 2 usage."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Final, TextIO

import msgspec

from policies.directory import UnreadableError, list_policy_files, read_policy_file
from policies.errors import PolicyError, PolicyRefused
from policies.format import CannotFormatError, format_file
from policies.json_schema import schema_text
from policies.kinds import kind_at
from policies.load import load_directory
from policies.snapshot import Snapshot

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2


def check(directory: str, json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Say whether a policy directory would be taken, and if not, everything that keeps it from that."""
    out, err = out or sys.stdout, err or sys.stderr
    if not Path(directory).is_dir():
        return _no_directory(directory, err)
    try:
        snapshot = load_directory(directory)
    except PolicyRefused as refused:
        _print_errors(directory, refused.errors, json, out, err)
        return FAILED
    if json:
        print(msgspec.json.encode({"ok": True, "errors": [], **_counts(snapshot)}).decode(), file=out)
    else:
        counts = ", ".join(_counted(count, noun) for noun, count in _nouns(snapshot).items())
        print(f"ok: digest {snapshot.digest}, {counts}", file=out)
    return OK


def fmt(directory: str, check_only: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Bring every policy file into its usual form, or with `check_only` say which are not."""
    out, err = out or sys.stdout, err or sys.stderr
    root = Path(directory)
    if not root.is_dir():
        return _no_directory(directory, err)
    exit_code = OK
    for path in list_policy_files(root)[0]:
        try:
            is_changed = _format_one(root, path, check_only)
        except (CannotFormatError, UnreadableError, OSError) as error:
            print(f"{root / path} is left as it is: {error}", file=err)
            exit_code = FAILED
            continue
        if is_changed:
            print(f"{root / path} {'is not in its usual form' if check_only else 'formatted'}", file=out)
            exit_code = FAILED if check_only else exit_code
    return exit_code


def schema(out: TextIO | None = None) -> int:
    """Print the JSON Schema of policy files, for editors."""
    (out or sys.stdout).write(schema_text())
    return OK


def _no_directory(directory: str, err: TextIO) -> int:
    print(f"{directory} is not a directory. Name the directory that holds mesh.yaml.", file=err)
    return USAGE


def _print_errors(directory: str, errors: tuple[PolicyError, ...], json: bool, out: TextIO, err: TextIO) -> None:
    """The places are given from where the reader is, so that a terminal or editor can open them."""
    placed = [msgspec.structs.replace(error, file=os.path.normpath(f"{directory}/{error.file}")) for error in errors]
    if json:
        print(msgspec.json.encode({"ok": False, "errors": placed}).decode(), file=out)
        return
    for error in placed:
        print(error, file=err)
    print(f"{_counted(len(errors), 'error')} in {directory}: nothing of it is used", file=err)


def _nouns(snapshot: Snapshot) -> dict[str, int]:
    return {"tenant": len(snapshot.tenants), "route": len(snapshot.routes), "tier": len(snapshot.tiers)}


def _counts(snapshot: Snapshot) -> dict[str, str | int]:
    return {"digest": snapshot.digest, **{f"{noun}s": count for noun, count in _nouns(snapshot).items()}}


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _format_one(root: Path, path: str, check_only: bool) -> bool:
    """Whether a file was (or with `check_only`, would be) changed."""
    kind = kind_at(path)
    assert kind is not None  # noqa: S101 - the list of files holds only those that the layout knows
    content = read_policy_file(root, path)
    formatted = format_file(content, path, kind).encode()
    if formatted == content:
        return False
    if not check_only:
        _replace(Path(os.path.realpath(root / path)), formatted)
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
        temporary.chmod(file.stat().st_mode & 0o777)
        temporary.replace(file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
