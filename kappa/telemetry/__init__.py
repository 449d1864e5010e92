"""What a running kappa says of itself: logs, metrics, health. Open to all but pure packages."""
