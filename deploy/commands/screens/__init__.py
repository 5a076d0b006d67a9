"""What commands show live in a terminal, decided and drawn."""
