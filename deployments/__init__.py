"""Ready-made fleets: one folder each, with its own blocks, start scripts and operator's page."""
