"""Simulated clients: they ask a live gateway and its workers as real clients do, and tell how they were served."""
