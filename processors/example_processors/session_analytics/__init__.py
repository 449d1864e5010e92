"""What visitors do in one sitting. A module per version."""
