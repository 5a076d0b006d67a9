"""Bounded extraction: an archive's bytes become a read-only tree, or one refusal with a code."""
