"""The demo's models: handwritten digits, trained here and packaged as ordinary TorchServe archives."""
