"""The pod server's configuration: read once from the command line, fixed until the process ends."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_ROWS = 1024
DEFAULT_MAX_ROWS = 32
DEFAULT_MAX_WAIT_S = 0.002


@dataclass(frozen=True, slots=True)
class PodConfig:
    """How one pod is run.

    Attributes:
        listen: ``unix:/path`` or ``host:port``; "" when ``listen_fd`` is given.
        listen_fd: an inherited listening socket; -1 when ``listen`` is given.
        extracted_dir: where archives are extracted.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        max_rows: most rows of a batch; 0 leaves it to the archive.
        max_wait_s: longest wait for a batch to fill while the device is busy; negative leaves it to the archive.
        queue_rows: most rows that may wait; also the most that one request may have.
        queue_bytes: most bytes that arriving bodies, waiting requests and running batches hold together.
        lifeline_fd: the process stops at once when this pipe ends; -1 when there is none.
        records: path of the sidecar's socket; "" records nothing.
        outcomes_kept_s: how long the answer of a request with an idempotency key is kept.
        kept_per_s: traces kept per second of requests that come by no gateway.
        drift: file of how models' inputs and outputs are watched; "" watches none.
    """

    model: str
    version: str
    archive: Path
    extracted_dir: Path
    listen: str = ""
    listen_fd: int = -1
    device: str = "auto"
    max_rows: int = 0
    max_wait_s: float = -1.0
    queue_rows: int = 1024
    queue_bytes: int = 256 * 2**20
    max_body_bytes: int = 64 * 2**20
    lifeline_fd: int = -1
    records: str = ""
    outcomes_kept_s: float = 600.0
    kept_per_s: float = 20.0
    drift: str = ""

    @property
    def name(self) -> str:
        """``MODEL/VERSION``, as event lines and titles say it."""
        return f"{self.model}/{self.version}"


def parse_arguments(argv: Sequence[str]) -> PodConfig:
    """Read the command line; ends the process with status 2 and a sentence when it is wrong."""
    parser = argparse.ArgumentParser(prog="penstock pod", description="Serve one version of one model.")
    parser.add_argument("--model", required=True, help="its name in the mesh")
    parser.add_argument("--version", required=True, help="the version's name")
    parser.add_argument("--archive", required=True, type=Path, help="a .mar, a .tar.gz or a directory")
    parser.add_argument("--extracted-dir", required=True, type=Path, help="where archives are extracted")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--listen", default="", help="unix:/path or host:port")
    where.add_argument("--listen-fd", type=_number(0, 2**20), default=-1, help="an inherited listening socket")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--max-rows", type=_number(0, MAX_ROWS), default=0, help="0 leaves it to the archive")
    parser.add_argument("--max-wait-s", type=float, default=-1.0, help="negative leaves it to the archive")
    parser.add_argument("--queue-rows", type=_number(1, 2**20), default=1024, help="so many may wait (1024)")
    parser.add_argument(
        "--queue-bytes", type=_number(2**20, 2**30), default=256 * 2**20, help="of all that wait (256 MiB)"
    )
    parser.add_argument("--max-body-bytes", type=_number(1, 2**29), default=64 * 2**20, help="of one request (64 MiB)")
    parser.add_argument("--lifeline-fd", type=_number(0, 2**20), default=-1, help="a pipe; its end stops the pod")
    parser.add_argument("--records", default="", help="path of the sidecar's socket; nothing is recorded without one")
    parser.add_argument("--outcomes-kept-s", type=float, default=600.0, help="answers by key are kept so long (600)")
    parser.add_argument("--kept-per-s", type=float, default=20.0, help="traces kept of requests without a gateway (20)")
    parser.add_argument("--drift", default="", metavar="FILE", help="how rows are watched, by model, as JSON")
    return PodConfig(**vars(parser.parse_args(argv)))


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a reader of whole numbers within bounds."""

    def number(text: str) -> int:
        value = int(text)
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{value} is not between {lowest} and {highest}")
        return value

    return number
