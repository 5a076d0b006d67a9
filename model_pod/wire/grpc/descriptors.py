"""The compiled descriptors of our gRPC services, and how they are compiled anew."""

from __future__ import annotations

from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
FILE_SET: Final = HERE / "services.binpb"
"""A FileDescriptorSet with all that the sources import, each file after those that it needs."""


def compile_to(path: Path) -> None:
    """Compile the sources; needs ``grpcio-tools``.

    Raises:
        ImportError: ``grpcio-tools`` is not installed.
        ValueError: a source is wrong; the compiler has said why.
    """
    # Imported here because only who edits a source has it.
    import grpc_tools
    from grpc_tools import protoc

    sources = sorted(source.name for source in HERE.glob("*.proto"))
    well_known = Path(grpc_tools.__path__[0]) / "_proto"
    options = [f"--proto_path={HERE}", f"--proto_path={well_known}", "--include_imports"]
    if protoc.main(["protoc", *options, f"--descriptor_set_out={path}", *sources]):
        raise ValueError("the sources cannot be compiled")


if __name__ == "__main__":
    compile_to(FILE_SET)
