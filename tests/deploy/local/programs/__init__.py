"""Small programs that stand in for the gateway and the pods, so that only the mesh itself is tested."""
