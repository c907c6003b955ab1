"""A fleet as people write it, also in a `prefect.yaml`, and the policies that it can name. No Prefect, no adapter."""
