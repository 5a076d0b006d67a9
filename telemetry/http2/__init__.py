"""HTTP/2 (RFC 9113) as a server speaks it to callers that it does not trust; bytes in, events out, and no socket."""
