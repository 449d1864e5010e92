"""Kafka: topics and their history, columnar fetch, publishing."""
