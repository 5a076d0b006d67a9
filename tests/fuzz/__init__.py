"""Fuzz targets, each a module ``NAME_target`` with ``fuzz(data)`` and ``seeds()``; and what they once found."""
