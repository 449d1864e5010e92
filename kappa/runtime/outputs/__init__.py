"""What a version sends on, and in which form."""
