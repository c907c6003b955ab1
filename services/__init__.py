"""Small long-lived programs beside the flows, a folder each."""
