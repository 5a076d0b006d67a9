"""Makers of archives: good ones, and every hostile one we know."""
