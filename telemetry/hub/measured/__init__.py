"""What the mesh did, from its counters: read every ten seconds, kept in steps, never from sampled traces."""
