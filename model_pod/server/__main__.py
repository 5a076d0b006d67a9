"""``python -m model_pod.server``: one pod's server process."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import setproctitle
import uvloop

from model_pod.server.config import parse_arguments
from model_pod.server.events import say
from model_pod.server.listener import open_listener
from model_pod.server.serve import serve
from telemetry.logs.libraries import take_over
from telemetry.logs.line import Facts, warning
from telemetry.logs.log import LOG


def main(argv: Sequence[str] | None = None) -> int:
    """Run the pod; return the exit status."""
    config = parse_arguments(sys.argv[1:] if argv is None else argv)
    setproctitle.setproctitle(f"penstock pod {config.name} server")
    LOG.begin(Facts(process="pod", role="server", model=config.model, version=config.version))
    take_over(LOG, f"pod {config.name}")
    try:
        listener = open_listener(config.listen, config.listen_fd)
    except (OSError, ValueError) as error:
        say(
            f"pod {config.name}",
            warning(f"cannot listen on {config.listen or f'descriptor {config.listen_fd}'}: {error}"),
        )
        return 1
    uvloop.run(serve(config, listener))
    return 0


if __name__ == "__main__":
    sys.exit(main())
