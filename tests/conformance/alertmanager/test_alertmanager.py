"""Debian's Alertmanager, unchanged, takes our alerts, routes them, lets them end, and tells webhooks as we do."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.control.alerting.delivery import AlertDelivery
from gateway.control.alerting.outbox import Outboxes
from gateway.control.alerting.receivers import receivers_of
from gateway.control.slo_kept import Notice
from policies.snapshot.mesh import Alerting, Webhook
from tests.fakes.receiver import AlertReceiver
from tests.fakes.told import Told
from tests.gateway.control.alerting.notices import notice
from tests.ports import free_port
from tests.system.mesh import SOON_S, eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
CONFIG = """\
route: {receiver: us, group_by: [slo, model, alert], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}
receivers:
  - name: us
    webhook_configs: [{url: "%s/from-alertmanager", send_resolved: true}]
"""


@pytest.fixture
def program() -> str:
    if PROGRAM is None:
        pytest.skip("no Alertmanager here: apt-get install prometheus-alertmanager")
    return PROGRAM


@asynccontextmanager
async def alertmanager(program: str, home: Path, receiver: AlertReceiver) -> AsyncIterator[str]:
    """Run one that tells our receiver; yields its address."""
    (home / "config.yml").write_text(CONFIG % receiver.url)
    url = f"http://127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={home / 'config.yml'}",
        f"--storage.path={home / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
        "--log.level=error",
    )
    try:
        await asyncio.to_thread(eventually, lambda: answers(url), "the Alertmanager is ready")
        yield url
    finally:
        process.terminate()
        await process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def alerts_of(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{url}/api/v2/alerts", trust_env=False, timeout=SOON_S).json()
    return found


def shape(value: Any) -> Any:
    """Return the keys of a body, all the way down; of labels and annotations, that they are texts."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items() if key not in ("text", "externalURL")}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


def test_an_alertmanager_takes_alerts_lets_them_end_and_tells_webhooks_as_we_do(program: str, tmp_path: Path) -> None:
    async def story() -> None:
        now_s = time.time()
        fires, ticket = notice("page fast", now_s - 60), notice("ticket slow", now_s - 600)
        firing: list[Notice] = [fires, ticket]
        async with AlertReceiver() as receiver, alertmanager(program, tmp_path, receiver) as url:
            alerting = Alerting((Webhook(f"{receiver.url}/from-us"),), url)
            direct, managed = receivers_of(alerting)
            outboxes, told = Outboxes(), Told()
            outboxes.follow([direct.name, managed.name], firing)
            delivery = AlertDelivery(outboxes, lambda _: firing, told)
            delivery.follow(alerting)

            await delivery.tell(managed)
            assert told.lines == []
            await receiver.until(2)
            shown = {one["labels"]["alert"]: one for one in alerts_of(url)}
            assert shown["page fast"]["labels"] == fires.labels
            assert shown["page fast"]["annotations"] == fires.annotations
            assert shown["page fast"]["status"]["state"] == "active"

            firing.remove(fires)
            outboxes.put([notice("page fast", fires.began_s, time.time())])
            await delivery.tell(managed)
            await receiver.until(3)
            assert receiver.taken[2].body["status"] == "resolved"
            assert receiver.taken[2].body["commonLabels"]["alert"] == "page fast"
            assert [one["labels"]["alert"] for one in alerts_of(url)] == ["ticket slow"]

            before = len(receiver.taken)
            await delivery.tell(direct)
            ours = receiver.taken[before]
            theirs = next(one for one in receiver.taken if one.path == "/from-alertmanager")
            assert ours.path == "/from-us"
            assert shape(ours.body) == shape(theirs.body) | {
                "groupLabels": {"mesh": "str", "slo": "str", "model": "str"}
            }

    asyncio.run(story())
