"""A scheduler of opengris-scaler, played."""
