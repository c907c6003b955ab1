"""The pure engine around a policy: from inputs to a plan. No clock, no I/O, no randomness."""
