"""Simulated worlds: virtual time for policies, stand-in servers for adapters."""
