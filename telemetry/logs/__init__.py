"""What our processes tell people: one schema, bounded, without payloads, at a level that changes while they run."""
