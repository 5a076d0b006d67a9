"""All dashboards as files, and the file that tells Grafana where they are."""

from __future__ import annotations

from typing import Final

from deploy.grafana.canary import CANARY
from deploy.grafana.dashboard import Dashboard, dashboard_json
from deploy.grafana.debug import DEBUG
from deploy.grafana.executive import EXECUTIVE
from deploy.grafana.on_call import ON_CALL

DASHBOARDS: Final[tuple[Dashboard, ...]] = (EXECUTIVE, ON_CALL, DEBUG, CANARY)
_PROVIDER: Final = """\
# For /etc/grafana/provisioning/dashboards; the JSON files go to the path below.
apiVersion: 1
providers:
  - name: penstock
    folder: Penstock
    type: file
    allowUiUpdates: false
    updateIntervalSeconds: 30
    options:
      path: /var/lib/grafana/dashboards/penstock
"""


def grafana_files() -> dict[str, bytes]:
    """Return every file by its name."""
    dashboards = {f"{one.uid}.json": dashboard_json(one) for one in DASHBOARDS}
    return {**dashboards, "provisioning.yaml": _PROVIDER.encode()}
