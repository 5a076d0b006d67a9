"""The ledger of quotas: what was used, and what was let to gateways to use, written down before it is let."""
