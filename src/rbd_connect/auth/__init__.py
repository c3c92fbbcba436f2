"""Who calls, what is granted to whom, and how much of it at once."""
