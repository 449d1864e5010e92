"""Avro: schemas, their compatibility, and decoding batches of values to columns."""
