"""A handler's own metrics."""
