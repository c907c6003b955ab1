"""The nouns, the ports and the errors of Ebbflow: standard library only, no clock, no I/O, no randomness."""
