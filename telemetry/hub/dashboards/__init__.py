"""Decides what each dashboard holds, from what the mesh says of itself and from what the hub counted."""
