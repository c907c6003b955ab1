"""A fleet as people write it, and the policies that it can name. No Prefect, no adapter."""
