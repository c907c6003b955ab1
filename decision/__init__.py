"""The engine around a policy, from inputs to a plan. Pure: no I/O, no clock, no randomness."""
