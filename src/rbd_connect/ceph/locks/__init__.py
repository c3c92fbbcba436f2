"""One change of an image at a time, across servers."""
