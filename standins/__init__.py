"""Stand-ins of outside systems that speak their real protocols over loopback."""
