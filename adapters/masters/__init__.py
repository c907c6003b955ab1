"""Who holds the queue; one module or family of modules per master."""
