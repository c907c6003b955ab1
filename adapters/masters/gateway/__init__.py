"""Our own gateway as a master."""
