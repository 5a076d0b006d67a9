"""What a child told, as the mesh tells it: whose line it is, known by the pipe that it came through."""

from __future__ import annotations

from telemetry.logs.line import Facts, Line, Record, line_of, read_record

PRINTED = "process.output"


def gateway_line(text: str) -> Line:
    """Return what the supervisor or one of its processes told."""
    record = read_record(text)
    if record is None:
        return _as_it_is(text, "gateway", "gateway: ", Facts(process="gateway"))
    role = record.facts.role
    of_a_child = f": {role} (pid {record.facts.pid})" if role not in ("", "supervisor") else ""
    return line_of(record, f"gateway{of_a_child}", Facts(process="gateway"))


def pod_line(text: str, pod: str) -> Line:
    """Return what a pod's server or its handler told; ``pod`` is ``model/version/index``."""
    model, version = (*pod.split("/"), "")[:2]
    own = Facts(process="pod", pod=pod, model=model, version=version)
    record = read_record(text)
    if record is None:
        return _as_it_is(text, f"pod {pod}", "pod ", own)
    if record.facts.role == "model":
        return line_of(record, f"pod {pod}", own, separator="| ")
    return line_of(record, f"pod {model}/{version}", own)


def companion_line(text: str, name: str) -> Line:
    """Return what a sidecar or the hub told; ``name`` is what its lines begin with."""
    own = Facts(process=name.partition(" ")[0], pod=_pod_of(name))
    record = read_record(text)
    return _as_it_is(text, name, f"{name}: ", own) if record is None else _named(record, name, own)


def _named(record: Record, name: str, own: Facts) -> Line:
    return line_of(record, name, own)


def _pod_of(name: str) -> str:
    of = name.partition(" ")[2]
    return of if "/" in of else ""


def _as_it_is(text: str, subject: str, ours: str, own: Facts) -> Line:
    """Return what is no record of ours: it says who it is, or is tagged."""
    if text.startswith(ours):
        return Line(text, event=PRINTED, facts=own)
    before = f"{subject}| "
    return Line(f"{before}{text}", event=PRINTED, facts=own, prefix=len(before))
