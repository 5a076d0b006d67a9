"""What the hub's pages show, decided: pure functions from the JSON API's answers to what a template writes down."""
