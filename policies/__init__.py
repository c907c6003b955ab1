"""What a fleet may name under `policy`, and the formulas that policies share. Pure: no I/O, no clock, no randomness."""
