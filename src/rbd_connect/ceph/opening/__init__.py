"""What comes before a change: opening the image, its pools, its users, and why Ceph refuses."""
