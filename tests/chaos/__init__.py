"""Scenarios: faults on a throwaway cluster while calls go on, and what became of each call; `make chaos` runs them."""
