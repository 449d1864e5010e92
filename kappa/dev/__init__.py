"""A real Kafka and a real PostgreSQL on this machine, for development. Nothing else needs them.

``stack`` is the way in: it starts, stops and describes the two servers below one directory.
"""
