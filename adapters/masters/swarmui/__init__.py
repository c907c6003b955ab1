"""Master `swarmui`: a SwarmUI that users talk to."""
