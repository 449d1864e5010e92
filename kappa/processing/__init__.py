"""Processors: what people declare and how batches of columns fold into rows. Pure."""
