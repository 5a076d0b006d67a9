"""Requests and answers, legal and hostile, as bytes: each with its class, its rule, and what must follow."""
