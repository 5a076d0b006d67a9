"""One typed module per kind of policy file, as people write them; the JSON Schema is generated from these types."""
