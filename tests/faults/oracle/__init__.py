"""A model that says of each answer which execution it comes from, and keeps a ledger of all it ran."""
