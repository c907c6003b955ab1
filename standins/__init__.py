"""Stand-ins of outside systems that speak the real protocols over loopback, for the demo and the tests."""
