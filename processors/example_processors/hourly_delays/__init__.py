"""How late flights leave, by airport and hour of scheduled departure. A module per version."""
