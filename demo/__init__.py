"""The demo fleet: everything on one host, from a bare clone to a summary."""
