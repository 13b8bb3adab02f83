"""Walks: how a sample gets from the noise level of t0 down to 0."""
