"""Stand-in model servers: one that plays any of the kinds which the gateway knows.

Source: each kind's own documentation, source or behaviour as of November 2026; the versions stand with the answers.
"""
