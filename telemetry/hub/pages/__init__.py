"""The hub's pages: HTML that is whole without a script, from the same answers that the JSON API gives."""
