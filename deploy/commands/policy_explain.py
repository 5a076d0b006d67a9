"""``penstock policy explain``: every step of a decision: of a request that is described, or of a past one by its id."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from deploy.commands.numbers import whole
from deploy.commands.policy_files import NoPolicyThere, in_force, read_directory, running_state, tell
from deploy.commands.policy_trials import step_lines
from deploy.commands.running_mesh import NotReachable, NotThere, Target, ask, decoded, find
from deploy.commands.running_mesh import add_arguments as add_mesh_arguments
from deploy.commands.running_stages import running_stages
from gateway.decide.route import Api
from gateway.decide.stage import Stage
from gateway.decide.tables import account_of
from gateway.trial.explanation import explain
from gateway.trial.past import Decided, PastReport, decided
from gateway.trial.requests import TriedRequest, facts_of
from gateway.trial.stages import stage_at
from gateway.trial.stated_counters import StatedCounters, standing_of
from gateway.trial.tried_policy import tried_tables
from policies.errors import advice
from policies.snapshot.generation import Snapshot
from policies.snapshot.route import READ_HEADERS, deciding_headers
from policies.units import UnitError, fraction, moment_unix_s

SUMMARY = "say step by step how a request is decided, or how a past one was"
_APIS = (Api.PREDICT, Api.EXPLAIN, Api.INFER)
_NO_STAGES: Mapping[str, Stage] = {}
# A record appears a second after its answer, on a busy machine a little later.
_TRIES, _PAUSE_S = 6, 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("request_id", metavar="REQUEST_ID", nargs="?", help="x-request-id of an answer: the past one")
    parser.add_argument("--policies", metavar="DIR", help="decide by this directory; by the running mesh without it")
    parser.add_argument("--tenant", metavar="T", default="", help="who calls; nobody known when left out")
    parser.add_argument("--model", metavar="M", help="what is called")
    parser.add_argument("--version", metavar="V", default="", help="the version that the path asks for")
    parser.add_argument("--key", metavar="ID", default="", help="id of one of the tenant's keys; any scope without it")
    headers = f"a header that decisions read: {', '.join(READ_HEADERS)}, and those that routes name"
    parser.add_argument("--header", metavar="K=V", action="append", default=[], help=headers)
    share = "as if the model's canary had this share, as 25%%; what it has in the running mesh when left out"
    parser.add_argument("--canary-share", metavar="SHARE", help=share)
    parser.add_argument("--body-bytes", metavar="N", type=_byte_count, help="size of the body")
    parser.add_argument("--at", metavar="MOMENT", help='when, such as "2027-03-01T00:00:00Z"; now when left out')
    parser.add_argument(
        "--api", choices=[api.value for api in _APIS], default=Api.PREDICT.value, help="predict when left out"
    )
    add_mesh_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Explain; 1 when there is nothing to explain by, 2 for a mistake in the arguments."""
    if options.request_id is not None and options.model is not None:
        fix = "name a REQUEST_ID, or describe a request with --model, not both"
        print(f"penstock policy explain: a past request is explained as it was: {fix}", file=sys.stderr)
        return 2
    if options.request_id is None and options.model is None:
        print("penstock policy explain: name a REQUEST_ID, or describe a request with --model", file=sys.stderr)
        return 2
    if options.server is not None and options.model is not None:
        fix = "name the files with --policies to describe a request"
        print(f"penstock policy explain: --server needs a REQUEST_ID; {fix}", file=sys.stderr)
        return 2
    try:
        return _past(options) if options.request_id is not None else _described(options)
    except NoPolicyThere as error:
        return tell("explain", error)
    except UnitError as error:
        print(f"penstock policy explain: {advice(error.problem, error.fix)}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"penstock policy explain: {error}", file=sys.stderr)
        return 2


def _past(options: argparse.Namespace) -> int:
    try:
        target = find(options, os.environ, Path.home())
        path = f"/admin/policy/explain/{options.request_id}"
        answer = _asked_again(target, path)
        report = decoded(target, path, answer, PastReport)
    except NotReachable as error:
        print(f"penstock policy explain: {error}", file=sys.stderr)
        return 1
    print(answer.decode() if options.json else "\n".join(describe_past(report)))
    return 0


def _asked_again(target: Target, path: str) -> bytes:
    """Ask for a record that may be on its way: whoever explains an answer just had is not told that there is none."""
    for _ in range(_TRIES - 1):
        with suppress(NotThere):
            return ask(target, path)
        time.sleep(_PAUSE_S)
    return ask(target, path)


def _described(options: argparse.Namespace) -> int:
    wall_s = moment_unix_s(options.at) if options.at else time.time()
    snapshot = read_directory(options.policies) if options.policies else in_force(running_state(options.state))
    found = explained(snapshot, _request(options, snapshot), wall_s, _stages(options, snapshot))
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        note = "limits and quotas are taken as unused; pods are not asked"
        print("\n".join([*describe(found), note]))
    return 0


def _byte_count(text: str) -> int:
    return whole(text, 0)


def _stages(options: argparse.Namespace, snapshot: Snapshot) -> dict[str, Stage]:
    """Return where canaries stand, as far as anybody says."""
    if options.canary_share is None:
        return {} if options.policies else running_stages(snapshot, running_state(options.state))
    share, route = fraction(options.canary_share), snapshot.routes.get(options.model)
    if route is None or route.canary is None or not 0 <= share <= 1:
        why = "a share is 0% to 100%" if route and route.canary else f"{options.model} has no canary"
        raise ValueError(f"--canary-share {options.canary_share}: {why}")
    return stage_at(route, share)


def explained(
    snapshot: Snapshot, request: TriedRequest, wall_s: float, stages: Mapping[str, Stage] = _NO_STAGES
) -> Decided:
    """Explain a request that is described, with limits that nobody has used.

    Args:
        stages: by model, where canaries stand; one that is missing has not begun.
    """
    unused = {
        account_of(tenant.name, quota): standing_of(quota.limit, 0)
        for tenant in snapshot.tenants.values()
        for quota in tenant.quotas
    }
    tables = tried_tables(snapshot)
    tables.stages = stages
    return decided(explain(tables, facts_of(request, wall_s), StatedCounters(unused), now_s=0.0))


def _request(options: argparse.Namespace, snapshot: Snapshot) -> TriedRequest:
    headers: dict[str, str] = {}
    known = (*READ_HEADERS, *sorted(deciding_headers(snapshot.routes)))
    for text in options.header:
        name, separator, value = text.partition("=")
        if not separator or name.lower() not in known:
            raise ValueError(f"--header {text}: decisions read {', '.join(known)}; write NAME=VALUE")
        headers[name.lower()] = value
    return TriedRequest(
        model=options.model,
        tenant=options.tenant,
        key_id=options.key,
        version=options.version,
        api=Api(options.api),
        headers=headers,
        body_bytes=options.body_bytes,
    )


def describe(found: Decided) -> list[str]:
    """Return every step, and what follows."""
    outcome = f"version {found.version} answers" if found.version else "the gateway answers"
    if found.reason:
        admitted = f"admitted to version {found.version}, then " if found.version else ""
        outcome = f"{admitted}refused with {found.status} {found.reason}: {found.message}"
    policy = f"generation {found.generation}" if found.generation else "these files"
    return [*step_lines(found.steps), f"{policy}: {outcome}"]


def describe_past(report: PastReport) -> list[str]:
    """Return what became of a request, how it was decided, and how it would be decided now."""
    was = report.recorded
    asked = " ".join(part for part in (was.api or "an unknown path", was.model, was.asked_version) if part)
    ended = f"{was.status}{f' {was.reason}' if was.reason else ''}"
    lines = [
        f"{report.request_id}, {was.at}: tenant {was.tenant}, credential {was.credential_id}, {asked}",
        f"answered {ended} after {was.duration_s * 1000:.1f} ms by version {was.version or '-'}, "
        f"decided by generation {was.generation}",
        "",
    ]
    if report.then is None:
        lines.append(f"generation {was.generation} is not kept any more: its steps cannot be shown")
    else:
        lines += describe(report.then)
    now, then = report.now, report.then
    # Policy gave a version to what was refused after its decision, and another policy may decide the same.
    if then is not None and (now.reason, now.version) == ("" if then.version else then.reason, then.version):
        return [*lines, "", f"generation {now.generation}, in force now, decides the same"]
    return [*lines, "", "the policy in force now, with its rates unused and its quotas used as then:", *describe(now)]
