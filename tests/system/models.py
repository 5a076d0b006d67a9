"""Models beside the demo's: their archives, their routes, and a mesh that may have them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.fakes.archives.layout import archive_files, pack_mar
from tests.system.mesh import MeshUnderTest

# The demo's tenant may call every model, so that a test can add some.
EVERY_MODEL = {
    "tenants/demo.yaml": 'kind: tenant/v1\nname: demo\nowner: demo-team\ntier: demo\nkeys: []\nmay_call: ["*"]\n'
}


def own_store(store: Path, home: Path) -> Path:
    """Return a copy of the model store that a test may add archives to."""
    return Path(shutil.copytree(store, home / "models"))


def route(model: str, batching: str) -> str:
    """Return a route file whose one version is the archive ``MODEL.mar``."""
    return (
        f"kind: route/v1\nmodel: {model}\nowner: test-team\n"
        f'versions: {{"1": {{pods: {{launch: {{archive: {model}.mar, device: cpu}}}}}}}}\n'
        f'{batching}stable: "1"\n'
    )


def handler_archive(handler: str) -> bytes:
    """Return an archive of a handler's source."""
    return pack_mar(archive_files(handler))


def add_models(mesh: MeshUnderTest, archives: Mapping[str, bytes], batching: str = "") -> None:
    """Put archives into the store, then all their routes into the policy at once.

    Args:
        batching: a line of each route file, "" to leave batching to the archive.
    """
    for model, archive in archives.items():
        (mesh.store / f"{model}.mar").write_bytes(archive)
    for model in archives:
        (mesh.policies / "routes" / f"{model}.yaml").write_text(route(model, batching))
