"""The handlers that an archive may name or derive from."""
