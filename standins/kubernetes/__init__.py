"""A stand-in Kubernetes API server whose pods are processes of this host."""
