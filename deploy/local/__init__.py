"""``penstock up``: a whole mesh on one machine, its processes started, watched, restarted and drained."""
