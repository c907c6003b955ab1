"""A scheduler of opengris-scaler as a master."""
