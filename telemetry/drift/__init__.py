"""What sampled rows of a model add up to by window, and whether they have drifted; for the sidecar and the mesh."""
