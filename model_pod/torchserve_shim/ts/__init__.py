"""What handlers written for TorchServe import as ``ts``; on ``sys.path`` only inside the inference process."""

__version__ = "0.12.0"
