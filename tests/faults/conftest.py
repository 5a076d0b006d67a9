"""What rows share: the figures that are printed at the end of the run."""

from tests.system.conftest import figure

__all__ = ["figure"]
