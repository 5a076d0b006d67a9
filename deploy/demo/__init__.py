"""The demo's models: handwritten digits, trained here, and sentence embeddings; ordinary TorchServe archives."""
