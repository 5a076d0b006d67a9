"""What rows share: the figures that are printed at the end of the run."""

from tests.system.conftest import figure, pytest_terminal_summary

__all__ = ["figure", "pytest_terminal_summary"]
