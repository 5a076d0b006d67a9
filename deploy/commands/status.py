"""``penstock status``: shows how the running mesh does."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.commands.rollout_text import in_one_line
from deploy.commands.running_mesh import NotReachable, Target, add_arguments, ask, find, read
from deploy.commands.table import table
from deploy.local.hub import RunningHub, running_hub
from gateway.control.reports import (
    EndedWorkersReport,
    PodReport,
    PolicyReport,
    StatusReport,
    WaitingReport,
    WorkerReport,
)
from gateway.control.rollout_reports import RolloutReport, RolloutsReport
from policies.errors import PolicyError


def run(arguments: Sequence[str]) -> int:
    """Print the status; 0 when the mesh is ready, 1 when it is not or cannot be asked."""
    parser = argparse.ArgumentParser(prog="penstock status", description="Show how the running mesh does.")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        target = find(options, os.environ, Path.home())
        status = read(target, "/admin/status", StatusReport)
        if options.json:
            print(ask(target, "/admin/status").decode())
        else:
            policy, hub = read(target, "/admin/policy", PolicyReport), running_hub(Path(status.state_dir))
            print(describe(status, policy, hub, _rollouts(target)))
    except NotReachable as error:
        print(f"penstock status: {error}", file=sys.stderr)
        return 1
    return 0 if status.readiness.is_ready else 1


def _rollouts(target: Target) -> Sequence[RolloutReport]:
    """Return the canaries, as far as whoever asks may see them."""
    try:
        return read(target, "/admin/rollouts", RolloutsReport).rollouts
    except NotReachable:
        return ()


def describe(
    status: StatusReport, policy: PolicyReport, hub: RunningHub | None = None, rollouts: Sequence[RolloutReport] = ()
) -> str:
    """Return the status for people; the hub is that of the same machine, None where none is known."""
    parts = [
        _headline(status),
        _addresses(status, hub),
        *_waiting(policy.waiting),
        *_policy(policy),
        *(["\n".join(in_one_line(one) for one in rollouts)] if rollouts else []),
        *([f"{status.workers_to_replace} workers have yet to be replaced"] if status.workers_to_replace else []),
        _workers(status.workers, status.ended_workers),
        _pods(status.pods),
    ]
    return "\n\n".join(parts)


def _headline(status: StatusReport) -> str:
    state = "draining" if status.is_draining else "ready" if status.readiness.is_ready else "not ready"
    return (
        f"mesh {status.mesh}: {state}, generation {status.generation}, up {status.uptime_s:.0f} s "
        f"(penstock {status.version}, pid {status.pid})"
    )


def _addresses(status: StatusReport, hub: RunningHub | None) -> str:
    named = (
        ("inference", status.addresses.inference),
        ("gRPC", status.addresses.inference_grpc),
        ("management", status.addresses.management),
        ("metrics", [f"{url}/metrics" for url in status.addresses.metrics]),
        ("dashboards", [hub.dashboards] if hub is not None else []),
    )
    return "\n".join(f"{name:<10}  {', '.join(urls) or 'nowhere'}" for name, urls in named)


def _waiting(waiting: WaitingReport | None) -> list[str]:
    if waiting is None:
        return []
    awaited = ", ".join(waiting.not_ready) or "a worker"
    limit = f", at most {waiting.at_most_s:.0f} s longer" if waiting.not_ready else ""
    return [f"generation {waiting.generation} waits for {awaited} to be ready{limit}"]


def _policy(policy: PolicyReport) -> list[str]:
    if not policy.errors:
        return []
    mistakes = [str(PolicyError(e.file, e.line, e.column, e.problem, e.fix)) for e in policy.errors]
    return [
        "\n".join([f"the policy files are refused since {policy.refused_at}; what was good before stays:", *mistakes])
    ]


def _workers(workers: Sequence[WorkerReport], ended: EndedWorkersReport) -> str:
    counts = ("REQUESTS", "REFUSED", "IN FLIGHT", "WAITING", "EJECTED", "CONNECTIONS")
    head = ("WORKER", "PID", "GENERATION", "ACCEPTS", *counts)
    rows: list[tuple[str | int | None, ...]] = [
        (
            w.index,
            w.pid,
            w.generation,
            "yes" if w.is_accepting else "no",
            w.requests,
            sum(w.by_reason.values()),
            w.in_flight,
            w.waiting,
            w.ejected,
            w.connections,
        )
        for w in workers
    ]
    if ended.requests:
        rows.append(("ended", None, None, None, ended.requests, sum(ended.by_reason.values()), None, None, None, None))
    return table(head, rows)


def _pods(pods: Sequence[PodReport]) -> str:
    head = ("POD", "STATE", "DEVICE", "QUEUED", "RUNNING", "RESTARTS", "PID", "MESSAGE")
    return table(
        head,
        [(p.name, p.state, p.device, p.queued_rows, p.running_rows, p.restarts, p.pid, p.message) for p in pods],
    )
