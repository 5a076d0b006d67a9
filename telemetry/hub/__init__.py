"""The hub: receives spans, keeps traces, and shows the mesh in a browser."""
