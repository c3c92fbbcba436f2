"""Admission to Ceph: how many calls at once, the queue of each image, and whether the scopes answer."""
