"""Settings: their types, where each was given, how they are read, and what is wrong with them."""
