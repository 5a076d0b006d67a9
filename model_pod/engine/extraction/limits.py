"""What an archive may cost, and the one way it is refused."""

from __future__ import annotations

from dataclasses import dataclass, field

WEIGHT_SUFFIXES = (".pt", ".pth", ".pt2", ".bin", ".safetensors", ".onnx", ".so", ".ckpt", ".npz", ".npy", ".gguf")


class ArchiveRefused(Exception):
    """The archive cannot be served as it stands.

    Args:
        code: a stable word for programs, such as ``unsafe_name``.
        message: one sentence for the model's owner: what is wrong, where, and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Bounds of one archive.

    Attributes:
        entries: files and directories together.
        weights_bytes: sum over files that hold weights (by suffix), as extracted.
        other_bytes: sum over all other files, as extracted.
        ratio: extracted bytes per packed byte of any file that holds no weights.
        ratio_free_bytes: extracted bytes below which the ratio is not looked at; small text packs very well.
    """

    entries: int = 10_000
    weights_bytes: int = 20 * 2**30
    other_bytes: int = 64 * 2**20
    ratio: int = 100
    ratio_free_bytes: int = 64 * 2**10


def holds_weights(name: str) -> bool:
    """Return whether a file's suffix is one that model weights use."""
    return name.lower().endswith(WEIGHT_SUFFIXES)


@dataclass(slots=True)
class Meter:
    """Adds up what an archive has cost so far and refuses the entry that goes over a limit."""

    limits: ArchiveLimits
    entry_count: int = field(default=0, init=False)
    weights_bytes: int = field(default=0, init=False)
    other_bytes: int = field(default=0, init=False)

    def count_entry(self) -> None:
        """Raises: ArchiveRefused when this is one entry too many."""
        self.entry_count += 1
        if self.entry_count > self.limits.entries:
            raise ArchiveRefused("too_many_entries", f"The archive has more than {self.limits.entries} entries.")

    def count_bytes(self, name: str, size: int) -> None:
        """Raises: ArchiveRefused when the sum of the file's kind goes over its limit."""
        if holds_weights(name):
            self.weights_bytes += size
        else:
            self.other_bytes += size
        if self.weights_bytes > self.limits.weights_bytes:
            raise ArchiveRefused("too_large", f"Weights are larger than {self.limits.weights_bytes} bytes together.")
        if self.other_bytes > self.limits.other_bytes:
            raise ArchiveRefused(
                "too_large", f"Files other than weights are larger than {self.limits.other_bytes} bytes together."
            )

    def check_ratio(self, name: str, extracted_bytes: int, packed_bytes: int) -> None:
        """Raises: ArchiveRefused for a file that expands as only a decompression bomb does."""
        if holds_weights(name) or extracted_bytes <= self.limits.ratio_free_bytes:
            return
        if extracted_bytes > self.limits.ratio * packed_bytes:
            raise ArchiveRefused(
                "ratio_too_high", f"{name!r} expands more than {self.limits.ratio} times; that is no model file."
            )
