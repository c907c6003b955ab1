"""Who holds the queue; one folder per master."""
