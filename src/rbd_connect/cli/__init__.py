"""The command ``rbd-connect``: argv and environment -> settings -> run, and what it prints."""
