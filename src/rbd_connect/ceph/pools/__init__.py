"""Pools: what the monitors say of them, and opening one for a call."""
