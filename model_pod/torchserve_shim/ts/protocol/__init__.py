"""What handlers import of TorchServe's protocol."""
