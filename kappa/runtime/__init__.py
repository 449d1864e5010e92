"""Where log, processing and tables meet: replays and their workers."""
