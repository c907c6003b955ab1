"""A world in virtual time, in which policies are played on recorded and made-up demand and compared."""
