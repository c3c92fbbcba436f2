"""The table of states: how each call answers on a pool, an image or a snapshot in some state, and what it leaves."""
