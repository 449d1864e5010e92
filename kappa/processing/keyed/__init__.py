"""Keyed processors: handlers, state and timers, one record at a time."""
