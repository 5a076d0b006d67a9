"""The pod's server process: HTTP edge, bounded queue, batching, its inference process's life; no torch here."""
