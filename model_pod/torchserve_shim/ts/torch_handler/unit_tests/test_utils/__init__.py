"""A context for handler tests."""
