"""gRPC at the edge: calls over HTTP/2 become requests of the gateway; their answers, messages and trailers."""
