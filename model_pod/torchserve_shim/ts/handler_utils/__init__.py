"""Decorators and pipelines for handlers."""
