"""Aggregates per key and window: declared, lifted from records, folded."""
