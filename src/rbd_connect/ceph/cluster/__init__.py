"""The connection to a cluster: keys, options, why it fails, whether the OSDs answer."""
