"""Placement: which provider gets which launch, and which worker goes."""
