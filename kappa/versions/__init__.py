"""Versions of a processor: identity, lifecycle, records, promote."""
