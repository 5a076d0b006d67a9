"""``python -m deploy.demo``: makes the demo's archives (``build``), and calls them (``png``, ``text``, ``traffic``)."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

from deploy.demo.catalogue import DEMO_ARCHIVES
from deploy.demo.made import NotHere


def main(argv: list[str] | None = None) -> int:
    """Run one of the commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="make models and write their archives into a model store")
    build.add_argument("store", type=Path)
    build.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(DEMO_ARCHIVES)}; default: all")
    png = commands.add_parser("png", help="write digit.png, a digit that no model was trained on, into a folder")
    png.add_argument("folder", type=Path)
    text = commands.add_parser("text", help="print a JSON body that holds a sentence, for the text model")
    text.add_argument("sentence")
    traffic = commands.add_parser("traffic", help="send digits to the running mesh, as many users would, until Ctrl-C")
    traffic.add_argument("--state", type=Path, metavar="DIR", help="state directory of the mesh; default: this user's")
    traffic.add_argument("--rate", type=float, default=60.0, metavar="N", help="requests a second; default: 60")
    traffic.add_argument("--seconds", type=float, default=math.inf, metavar="N", help="for so long; default: for ever")
    traffic.add_argument("--labels", action="store_true", help="tell each answer's true label, by POST /feedback")
    arguments = parser.parse_args(argv)
    if arguments.command == "traffic":
        from deploy.demo.traffic import run

        return run(arguments.state, arguments.rate, arguments.seconds, arguments.labels)
    if arguments.command == "png":
        return draw(arguments.folder)
    if arguments.command == "text":
        print(json.dumps({"text": arguments.sentence}))
        return 0
    unknown = [name for name in arguments.names if name not in DEMO_ARCHIVES]
    if unknown:
        parser.error(f"the demo knows no archive {', '.join(unknown)}: it makes {', '.join(DEMO_ARCHIVES)}")
    return make(arguments.store, arguments.names or list(DEMO_ARCHIVES))


def make(store: Path, names: list[str]) -> int:
    """Build the named archives in order, one line each; one that cannot be made does not keep the others from it."""
    from deploy.demo.build import build

    exit_code = 0
    for name in names:
        try:
            print(build(DEMO_ARCHIVES[name], store), flush=True)
        except NotHere as reason:
            print(f"{name} cannot be made: {reason}", file=sys.stderr, flush=True)
            exit_code = 1
    return exit_code


def draw(folder: Path) -> int:
    """Write the first held-out digit as ``digit.png`` and say which digit it is."""
    from deploy.demo.data import load_split
    from deploy.demo.sample import write_png

    _, held_out = load_split()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "digit.png"
    write_png([int(level) for level in held_out.pixels[0]], path)
    print(f"{path}: the digit {held_out.labels[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
