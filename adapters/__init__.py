"""The outside world: providers, masters, and what they share. No Prefect."""
