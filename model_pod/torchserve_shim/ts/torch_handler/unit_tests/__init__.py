"""What handler authors use in their own tests."""
