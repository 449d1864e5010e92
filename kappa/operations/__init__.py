"""One function per command; each returns a frozen dataclass and prints nothing."""
