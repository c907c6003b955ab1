"""Programs for interpreters that have opengris-scaler: read as files, never imported here."""
