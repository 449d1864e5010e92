"""Keeping versions up to date: supervisor, followers, watchdog."""
