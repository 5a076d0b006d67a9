"""Decisions: the facts of past decisions, as workers write them and as replays read them."""
