"""What a bug or a gap of Ceph makes necessary. Each module names it, and the releases that have it."""
