"""The gRPC services that we serve: their ``.proto`` sources, and ``services.binpb``, which is these, compiled."""
