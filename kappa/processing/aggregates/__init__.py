"""Aggregates: what they keep of records, how that merges, what it comes to."""
