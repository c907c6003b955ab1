"""Turns without the price of a new Python: a server that has imported everything, and forks for each run."""
