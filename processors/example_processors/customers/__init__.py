"""The customers there are. A module per version."""
