"""``penstock audit``: shows who changed what, and proves that the record of it is whole."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from deploy.commands.running_mesh import NotReachable, add_arguments, find, read
from deploy.commands.table import table
from gateway.control.audit.files import COPIES_NAME, FOLDER, newest
from gateway.control.audit.inspection import Places, inspect, places_of
from gateway.control.audit.keys import PUBLIC_NAME, KeyUnusable
from gateway.control.audit.reports import AuditRecordReport, AuditReport, audit_report
from gateway.control.audit.verify import NOTHING_PROVEN, Fault, Verdict
from gateway.control.runtime_file import read_running, runtime_path

_STATE = Path(".penstock/state")
_PAGE = 500
_SHOWN_CHARACTERS = 60
# A line may be half written at the moment of reading; a moment later it is whole.
_AGAIN_AFTER_S = 0.2


def run(arguments: Sequence[str]) -> int:
    """Run one action; 0 when all is well, 1 when the log is not whole or cannot be read."""
    options = _parser().parse_args(arguments)
    try:
        done: int = options.do(options)
    except (NotReachable, KeyUnusable) as error:
        print(f"penstock audit: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"penstock audit: {error.filename} cannot be read: {error.strerror}", file=sys.stderr)
        return 1
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock audit", description="Work on the record of changes.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = actions.add_parser("verify", help="prove that nothing was changed, removed or added in the record")
    where = verify.add_mutually_exclusive_group()
    where.add_argument("--state", type=Path, metavar="DIR", help="state directory; default: of this user's mesh")
    where.add_argument(
        "--file", type=Path, action="append", metavar="FILE", help="a file of the log; several in their order"
    )
    verify.add_argument(
        "--checkpoints", type=Path, action="append", default=[], metavar="FILE", help="checkpoints kept elsewhere"
    )
    verify.add_argument("--public-key", type=Path, metavar="FILE", help=f"default: {PUBLIC_NAME} beside the log")
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(do=_verify)
    show = actions.add_parser("show", help="show the newest changes, oldest first")
    show.add_argument("--last", type=_count, default=20, metavar="N", help="how many; default: 20")
    add_arguments(show)
    show.set_defaults(do=_show)
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 100_000:
        raise argparse.ArgumentTypeError("write a number from 1 to 100000")
    return int(text)


def _verify(options: argparse.Namespace) -> int:
    places = _places(options, os.environ, Path.home())
    if not places.files:
        raise NotReachable(f"there is no audit log beside {places.key}; name its directory with --state")
    verdict = inspect(places)
    if verdict.fault is not None:
        time.sleep(_AGAIN_AFTER_S)
        verdict = inspect(places)
    if options.json:
        print(msgspec.json.encode(_as_json(verdict, places)).decode())
    else:
        print(describe(verdict, places), file=sys.stderr if verdict.fault else sys.stdout)
    return 1 if verdict.fault else 0


def _places(options: argparse.Namespace, environ: Mapping[str, str], home: Path) -> Places:
    if options.file is None:
        return places_of(_state(options.state, environ, home) / FOLDER, options.checkpoints, options.public_key)
    folder = options.file[-1].absolute().parent
    copies = folder / COPIES_NAME
    return Places(
        files=tuple(options.file),
        copies=copies if copies.exists() else None,
        more_copies=tuple(options.checkpoints),
        key=options.public_key or folder / PUBLIC_NAME,
    )


def _state(given: Path | None, environ: Mapping[str, str], home: Path) -> Path:
    """Return the state directory that is named, else that of the mesh that runs, else where one would run from here."""
    if given is not None:
        return given
    running = read_running(runtime_path(environ, home))
    return Path(running.state_dir) if running is not None else _STATE


def describe(verdict: Verdict, places: Places) -> str:
    """Return the verdict for people."""
    proven, fault = verdict.proven, verdict.fault
    if fault is None:
        told = [
            f"ok: {proven.records} records in {len(places.files)} {'file' if len(places.files) == 1 else 'files'}, "
            f"{proven.checkpoints} checkpoints, the last of them record {proven.signed}"
        ]
        if places.copies is None and not places.more_copies:
            told.append("no second file of checkpoints was at hand: records missing at the end would not show")
        return "\n".join(told)
    return f"{fault.place}: {fault.problem}\n{_still_proven(verdict)}"


def _still_proven(verdict: Verdict) -> str:
    proven = verdict.proven
    if proven == NOTHING_PROVEN:
        return "nothing is proven"
    signed = f", up to record {proven.signed} by signature" if proven.signed else ""
    return f"still proven: records 1 to {proven.records}{signed}"


def _as_json(verdict: Verdict, places: Places) -> dict[str, str | int | bool | list[str] | Fault | None]:
    return {
        "ok": verdict.fault is None,
        "records": verdict.proven.records,
        "checkpoints": verdict.proven.checkpoints,
        "signed_to": verdict.proven.signed,
        "head": verdict.proven.head.hex(),
        "files": [str(path) for path in places.files],
        "fault": verdict.fault,
    }


def _show(options: argparse.Namespace) -> int:
    report = _report(options)
    if options.json:
        print(msgspec.json.encode(report).decode())
        return 0
    head = ("N", "AT", "ACTOR", "ACTION", "SUBJECT", "GENERATION", "REASON OR DETAIL")
    print(table(head, [_row(record) for record in reversed(report.records)]))
    if report.unreadable:
        print(f"{report.unreadable} lines cannot be read: run penstock audit verify", file=sys.stderr)
    return 0


def _report(options: argparse.Namespace) -> AuditReport:
    """Ask the mesh; a mesh of this machine that does not run has left its log."""
    state = _state(options.state, os.environ, Path.home())
    is_running = read_running(state / "mesh.json") is not None
    if options.server is None and not is_running and (state / FOLDER).is_dir():
        return audit_report(*newest(state / FOLDER, options.last))
    target = find(options, os.environ, Path.home())
    records: list[AuditRecordReport] = []
    unreadable, before = 0, ""
    while len(records) < options.last:
        limit = min(_PAGE, options.last - len(records))
        page = read(target, f"/admin/audit?limit={limit}{before}", AuditReport)
        records += page.records
        unreadable += page.unreadable
        if len(page.records) < limit:
            break
        before = f"&before={page.records[-1].n}"
    return AuditReport(records, unreadable)


def _row(record: AuditRecordReport) -> tuple[str | int | None, ...]:
    moved = record.from_generation != record.to_generation
    generation = f"{record.from_generation} -> {record.to_generation}" if moved else str(record.to_generation)
    why = record.reason or msgspec.json.encode(record.detail).decode()
    shown = why if len(why) <= _SHOWN_CHARACTERS else f"{why[: _SHOWN_CHARACTERS - 1]}…"
    return (record.n, record.at, record.actor, record.action, record.subject, generation, shown)
