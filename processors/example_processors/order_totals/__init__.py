"""What was sold of each product, five minutes at a time. A module per version."""
