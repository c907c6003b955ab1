"""Fixed machines as a provider of Ebbflow: workers that run already, lent to fleets one at a time."""
