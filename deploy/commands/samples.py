"""``penstock samples``: shows the samples of inputs and outputs that policy has kept, and removes them."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec

from deploy.commands.moment import past_unix_s
from deploy.commands.running_mesh import NotReachable, Target, add_arguments, ask, change, decoded, find
from deploy.commands.table import table
from gateway.control.sample_desk import MOST_AT_ONCE, Purged, SamplesReport
from gateway.copies.reports import Sample
from gateway.decide.copying import BY_RATE, DRIFT, ERROR, SHADOW_DIFFERENCE, SLOW

_FROM_INPUT = "-"
WHYS = (BY_RATE, ERROR, SLOW, DRIFT, SHADOW_DIFFERENCE)


def run(arguments: Sequence[str]) -> int:
    """Run one action; 0 when it is done, 1 when the mesh refuses or is not there."""
    options = _parser().parse_args(arguments)
    try:
        done: int = options.do(options, find(options, os.environ, Path.home()))
    except NotReachable as error:
        print(f"penstock samples: {error}", file=sys.stderr)
        return 1
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock samples",
        description="Show or remove samples of inputs and outputs. Each use of it is in the audit log.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    shown = actions.add_parser("list", help="which samples of a model there are, without what is in them")
    shown.set_defaults(do=_list)
    shown.add_argument("--why", default="", choices=WHYS, help="those that were kept on this alone")
    shown.add_argument("--most", type=_count, default=100, metavar="N", help="so many of the latest; default: 100")
    one = actions.add_parser("show", help="what one sample holds")
    one.set_defaults(do=_show)
    for action in (shown, one):
        action.add_argument("model", metavar="MODEL", help="whose samples")
    one.add_argument("request_id", metavar="REQUEST_ID", help="as `list` shows it")
    purge = actions.add_parser(
        "purge",
        help="remove samples",
        description="Remove the samples that every given option is true of, of one model or of all.",
    )
    purge.set_defaults(do=_purge)
    purge.add_argument("--model", type=_named, metavar="MODEL", help="of this model alone")
    purge.add_argument(
        "--subject",
        type=_named,
        metavar="WHO",
        help="that are about somebody, as requests name them; - reads the name from standard input",
    )
    purge.add_argument(
        "--before", type=_before_s, default=0.0, metavar="WHEN", help="older than 7d, or than 2027-03-01T00:00:00Z"
    )
    purge.add_argument("--all", action="store_true", help="every sample")
    for action in (shown, purge):
        action.add_argument("--tenant", type=_named, metavar="TENANT", help="of this tenant alone")
    for action in (shown, one, purge):
        add_arguments(action)
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_AT_ONCE:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to {MOST_AT_ONCE}")
    return int(text)


def _named(text: str) -> str:
    """An empty name, as of a variable of the shell that is not set, must not stand for everybody."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: name one, or leave the option out")
    return text


def _before_s(text: str) -> float:
    before_s = past_unix_s(text)
    if before_s > time.time():
        raise argparse.ArgumentTypeError(f"{text} is still to come: --all is for every sample")
    return before_s


def _path(*parts: str) -> str:
    return "/".join(["/admin/samples", *(quote(part, safe="") for part in parts)])


def _list(options: argparse.Namespace, target: Target) -> int:
    wanted = {"tenant": options.tenant, "why": options.why, "most": options.most}
    path = f"{_path(options.model)}?{urlencode({name: value for name, value in wanted.items() if value})}"
    answer = ask(target, path)
    report = decoded(target, path, answer, SamplesReport)
    print(answer.decode() if options.json else samples_text(report.samples, options.model))
    return 0


def _show(options: argparse.Namespace, target: Target) -> int:
    path = _path(options.model, options.request_id)
    answer = ask(target, path)
    print(answer.decode() if options.json else sample_text(decoded(target, path, answer, Sample)))
    return 0


def _purge(options: argparse.Namespace, target: Target) -> int:
    subject = sys.stdin.readline().strip() if options.subject == _FROM_INPUT else options.subject
    if options.subject is not None and not subject:
        print("penstock samples: standard input names nobody: nothing was removed", file=sys.stderr)
        return 2
    if not (options.model or options.tenant or subject or options.before or options.all):
        print("penstock samples: say which: --model, --tenant, --subject, --before, or --all", file=sys.stderr)
        return 2
    path = _path(options.model, "purges") if options.model else _path("purges")
    is_all = not (options.tenant or subject or options.before)
    wanted = {"tenant": options.tenant or "", "subject": subject or "", "before_s": options.before, "all": is_all}
    answer = change(target, "POST", path, wanted)
    purged = decoded(target, path, answer, Purged).purged
    print(answer.decode() if options.json else f"{purged} sample{'' if purged == 1 else 's'} removed")
    return 0


def samples_text(samples: Sequence[Sample], model: str) -> str:
    """Return which samples there are."""
    if not samples:
        return f"no samples of {model}: `samples` in routes/{model}.yaml says what is kept"
    rows = [
        (_moment(one.at_s), one.request_id, one.version, one.tenant, one.why, one.status, f"{one.took_s * 1000:.1f} ms")
        for one in samples
    ]
    return table(("AT (UTC)", "REQUEST", "VERSION", "TENANT", "WHY", "STATUS", "TOOK"), rows)


def sample_text(one: Sample) -> str:
    """Return what one sample holds: JSON, whose escapes keep a terminal as it is."""
    head = (
        f"{one.model}/{one.version} ({one.arm}) answered {one.tenant} with {one.status} in {one.took_s * 1000:.1f} ms"
    )
    lines = [f"{head}, {_moment(one.at_s)} UTC; kept on {one.why}", f"trace {one.trace_id}"]
    for name, fields in (("input", one.input), ("output", one.output)):
        lines.append(f"{name}:" if fields else f"{name}: none of the fields that policy names")
        lines += [f"  {_json(pointer)}: {_json(value)}" for pointer, value in (fields or {}).items()]
    return "\n".join(lines)


def _json(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    # JSON may hold what a terminal takes as a command: DEL and C1 controls.
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
