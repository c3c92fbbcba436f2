"""Worker processes: each makes the calls of one scope, and nothing it does can hold up the event loop or another."""
