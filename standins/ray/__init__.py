"""A stand-in Ray head."""
