"""One module per command of ``penstock``; each reads its own arguments and returns an exit code."""
