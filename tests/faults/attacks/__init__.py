"""Clients that attack a running gateway: rows F12 to F17, F19 to F21 and F24 of the fault matrix."""
