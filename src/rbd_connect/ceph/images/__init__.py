"""Images: creating, resizing, deleting and describing one."""
