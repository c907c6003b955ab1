"""Stand-ins of SwarmUI, as master and as worker."""
