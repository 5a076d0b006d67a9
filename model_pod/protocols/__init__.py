"""Bytes to rows and back, one module per inference protocol."""
