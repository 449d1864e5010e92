"""What a product cost over the last ten minutes. A module per version."""
