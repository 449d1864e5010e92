"""Reading history into a version's tables, from a plan to the end."""
