"""A whole policy state as the processes use it, a module per kind of file: every number in seconds and bytes."""
