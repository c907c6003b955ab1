"""A stand-in of Vast's API whose instances are processes of this host."""
