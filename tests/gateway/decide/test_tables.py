"""Tables: one generation, indexed at once or piece by piece."""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from gateway.decide.tables import Tables
from policies.snapshot.tenant import Key, Quota
from tests.gateway.policy import policy


def test_tables_that_are_filled_in_pieces_are_the_tables() -> None:
    small = policy()
    ads = small.tenants["ads"]
    tenants = {
        f"t{index}": replace(
            ads, name=f"t{index}", keys=(Key("k", hashlib.sha256(b"%d" % index).hexdigest(), ("infer",)),)
        )
        for index in range(1200)
    }
    snapshot = replace(small, tenants=tenants)
    tables = Tables(snapshot, fill=False)
    assert tables.callers == {}
    assert len(list(tables.filling(snapshot))) == 2
    assert tables.callers == Tables(snapshot).callers


def test_a_quota_is_found_by_name_and_kept_by_what_it_counts_as_well() -> None:
    by_meter = {meter: Tables(policy(quotas=(Quota("day", meter, 9, "rolling-1h"),))) for meter in ("bytes", "tokens")}
    accounts = {meter: tables.account("ads", "day") for meter, tables in by_meter.items()}
    assert accounts == {"bytes": "tenant/ads/quota/day/bytes", "tokens": "tenant/ads/quota/day/tokens"}
    assert (by_meter["bytes"].account("ads", "none"), by_meter["bytes"].account("nobody", "day")) == ("", "")
