"""RBD's objects, read and locked without librbd: their encoding, and asynchronous reads of them."""
