"""The compiled descriptors are the sources'."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from model_pod.wire.grpc.descriptors import FILE_SET, HERE, compile_to


def test_what_is_compiled_is_what_the_sources_say(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    compile_to(tmp_path / "services.binpb")
    # By what it says: compilers differ in nothing else.
    fresh = FileDescriptorSet.FromString((tmp_path / "services.binpb").read_bytes())
    assert fresh == FileDescriptorSet.FromString(FILE_SET.read_bytes())


def test_every_source_is_there_and_each_file_after_those_that_it_needs() -> None:
    files = FileDescriptorSet.FromString(FILE_SET.read_bytes()).file
    seen: set[str] = set()
    for file in files:
        assert set(file.dependency) <= seen
        seen.add(file.name)
    assert {source.name for source in HERE.glob("*.proto")} <= seen
