"""Limits as they are shared: the file that every worker and the supervisor map."""
