"""The inference process: one model, its handler, one device, and the archive it comes from."""
