"""A Ray cluster for people outside: functions at a Hypha server by which they submit work and ask after it."""
