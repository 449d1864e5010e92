"""Sending outputs on, from the outbox to topics and webhooks."""
