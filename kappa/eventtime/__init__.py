"""Event time: durations, watermarks, windows and lateness. Pure: no clock, no I/O."""
