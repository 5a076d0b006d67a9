"""``penstock quota``: shows what quotas have left and what requests cost, and adds to a quota for a while."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from deploy.commands.moment import moment
from deploy.commands.running_mesh import NotReachable, Target, add_arguments, ask, change, decoded, find
from deploy.commands.table import table
from gateway.control.cost_report import CostsReport
from gateway.control.quota_reports import GrantReport, GrantsReport, QuotaReport, QuotasReport
from gateway.control.quota_view import amount_text

_PER_HOUR_BELOW_PER_S = 1.0


def run(arguments: Sequence[str]) -> int:
    """Run one action; 0 when it is done, 1 when the mesh refuses or cannot be asked."""
    options = _parser().parse_args(arguments)
    try:
        done: int = options.do(options, find(options, os.environ, Path.home()))
    except NotReachable as error:
        print(f"penstock quota: {error}", file=sys.stderr)
        return 1
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock quota", description="Show quotas and costs; grant more.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="what every quota has left, and when it is exhausted at this rate")
    show.add_argument("tenant", nargs="?", metavar="TENANT", help="one tenant; all of them when left out")
    show.set_defaults(do=_show)
    grant = actions.add_parser(
        "grant",
        help="add to a quota until a moment",
        description="Add to a quota until a moment: every period until then has the whole amount on top.",
    )
    grant.add_argument("tenant", metavar="TENANT", help="whose quota")
    grant.add_argument("quota", metavar="QUOTA", help="its name")
    grant.add_argument("amount", metavar="AMOUNT", help="in the quota's unit: 20h of device time, 2GiB, 1000000")
    grant.add_argument(
        "--until", required=True, type=moment, metavar="MOMENT", help="2027-03-01T00:00:00Z, or 7d from now"
    )
    grant.add_argument("--reason", required=True, metavar="TEXT", help="why, for the audit log")
    grant.set_defaults(do=_grant)
    grants = actions.add_parser("grants", help="what was granted, by whom, why and until when")
    grants.add_argument("tenant", nargs="?", metavar="TENANT", help="one tenant; all of them when left out")
    grants.set_defaults(do=_grants)
    revoke = actions.add_parser("revoke-grant", help="take a grant back before its time")
    revoke.add_argument("id", metavar="ID", help="as `penstock quota grants` shows it")
    revoke.add_argument("--reason", required=True, metavar="TEXT", help="why, for the audit log")
    revoke.set_defaults(do=_revoke)
    costs = actions.add_parser("costs", help="what requests cost by tenant and model, since the gateway's start")
    costs.add_argument("tenant", nargs="?", metavar="TENANT", help="one tenant; all of them when left out")
    costs.set_defaults(do=_costs)
    for action in (show, grant, grants, revoke, costs):
        add_arguments(action)
    return parser


def _of(path: str, tenant: str | None) -> str:
    return path if tenant is None else f"{path}?{urlencode({'tenant': tenant})}"


def _show(options: argparse.Namespace, target: Target) -> int:
    path = _of("/admin/quotas", options.tenant)
    answer = ask(target, path)
    report = decoded(target, path, answer, QuotasReport)
    print(answer.decode() if options.json else describe_quotas(report, options.tenant))
    return 0


def describe_quotas(report: QuotasReport, tenant: str | None = None) -> str:
    """Return quotas for people: of all tenants, or of the one that was asked for."""
    trouble = [f"the ledger of quotas cannot be used: {report.trouble}"] if report.trouble else []
    if not report.quotas:
        nobody = "no tenant has a quota: write `quotas:` in a tenant's file"
        not_this = f"{tenant} has no quota: write `quotas:` in tenants/{tenant}.yaml, if there is one"
        return "\n".join([*trouble, nobody if tenant is None else not_this])
    head = ("TENANT", "QUOTA", "PER", "USED", "LIMIT", "SHARE", "NOW", "RATE", "RESETS", "AT THIS RATE")
    rows = [
        (
            one.tenant,
            one.name,
            one.per if one.zone == "UTC" or one.per.startswith("rolling") else f"{one.per} ({one.zone})",
            None if one.used is None else amount_text(one.used, one.meter),
            _limit(one),
            None if one.ratio is None else f"{one.ratio:.1%}",
            _reached(one),
            rate_text(one.rate_per_s, one.meter),
            _resets(one),
            forecast(one),
        )
        for one in report.quotas
    ]
    return "\n\n".join([*trouble, table(head, rows)])


def _limit(one: QuotaReport) -> str:
    granted = f" (+{amount_text(one.granted_on_top, one.meter)})" if one.granted_on_top else ""
    return amount_text(one.limit, one.meter) + granted


def _resets(one: QuotaReport) -> str | None:
    """Write when a quota has its amount again; a rolling one gets it back bit by bit, from a moment on."""
    if one.resets_at is None:
        return None
    return f"from {_short(one.resets_at)}" if one.per.startswith("rolling") else _short(one.resets_at)


def _reached(one: QuotaReport) -> str:
    return next((step.action for step in reversed(one.ladder) if step.is_reached), "ok")


def rate_text(per_s: float, meter: str) -> str:
    """Write how fast a quota is used; device time per hour, and what is rare per hour too."""
    if not per_s:
        return "-"
    if meter == "device_time" or per_s < _PER_HOUR_BELOW_PER_S:
        return f"{amount_text(per_s * 3600, meter)}/h"
    return f"{amount_text(per_s, meter)}/s"


def forecast(one: QuotaReport) -> str | None:
    """Write when the limit is reached if use goes on as lately."""
    if one.ratio is None:
        return None
    if one.ratio >= 1.0:
        return "spent"
    return "lasts" if one.exhausted_at is None else _short(one.exhausted_at)


def _short(moment: str) -> str:
    """Shorten a moment in UTC; the letter at its end says so to people in other zones."""
    return f"{moment[:16].replace('T', ' ')}Z"


def _grant(options: argparse.Namespace, target: Target) -> int:
    path = f"/admin/quotas/{quote(options.tenant, safe='')}/{quote(options.quota, safe='')}/grants"
    asked = {"amount": options.amount, "until": options.until, "reason": options.reason}
    answer = change(target, "POST", path, asked)
    done = decoded(target, path, answer, GrantReport)
    of = f"{done.tenant}'s {done.quota}"
    told = f"{done.id}: {done.amount_text} on top of {of}, in each of its periods until {_short(done.until)}"
    print(answer.decode() if options.json else told)
    return 0


def _grants(options: argparse.Namespace, target: Target) -> int:
    path = _of("/admin/grants", options.tenant)
    answer = ask(target, path)
    report = decoded(target, path, answer, GrantsReport)
    print(answer.decode() if options.json else describe_grants(report))
    return 0


def describe_grants(report: GrantsReport) -> str:
    """Return grants for people."""
    if not report.grants:
        return "nothing was granted in the last 90 days: `penstock quota grant` does it"
    head = ("GRANT", "TENANT", "QUOTA", "AMOUNT", "UNTIL", "STATE", "BY", "REASON")
    rows = [
        (one.id, one.tenant, one.quota, one.amount_text, _short(one.until), _state(one), one.owner, one.reason)
        for one in report.grants
    ]
    return table(head, rows)


def _state(one: GrantReport) -> str:
    if one.is_live:
        return "counts"
    return "ended" if one.ended_by is None else f"taken back by {one.ended_by}"


def _revoke(options: argparse.Namespace, target: Target) -> int:
    report = decoded(target, "/admin/grants", ask(target, "/admin/grants"), GrantsReport)
    grant = next((one for one in report.grants if one.id == options.id), None)
    if grant is None:
        raise NotReachable(f"there is no grant {options.id}; `penstock quota grants` shows all")
    of = f"/admin/quotas/{quote(grant.tenant, safe='')}/{quote(grant.quota, safe='')}/grants/{quote(grant.id, safe='')}"
    answer = change(target, "DELETE", f"{of}?{urlencode({'reason': options.reason})}")
    done = decoded(target, of, answer, GrantReport)
    told = f"{done.id} is taken back: {done.amount_text} of {done.tenant}'s {done.quota}"
    print(answer.decode() if options.json else told)
    return 0


def _costs(options: argparse.Namespace, target: Target) -> int:
    path = _of("/admin/costs", options.tenant)
    answer = ask(target, path)
    report = decoded(target, path, answer, CostsReport)
    print(answer.decode() if options.json else describe_costs(report))
    return 0


def describe_costs(report: CostsReport) -> str:
    """Return costs for people."""
    head = ("TENANT", "MODEL", "REQUESTS", "DEVICE TIME", "BYTES", "TOKENS")
    rows = [
        (
            one.tenant or "-",
            one.model or "-",
            one.requests,
            amount_text(one.device_s * 1e6, "device_time"),
            amount_text(one.body_bytes, "bytes"),
            one.tokens,
        )
        for one in [*report.rows, report.total]
    ]
    rows[-1] = ("all", "", *rows[-1][2:])
    more = [f"{report.left_out} more are not shown"] if report.left_out else []
    return "\n".join([f"since {_short(report.since)}", table(head, rows), *more])
