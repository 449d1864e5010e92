"""Schemas by id and by subject, kept in a compacted topic."""
