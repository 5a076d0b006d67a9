"""The language that platform teams write, and the one value that a directory of it becomes."""
