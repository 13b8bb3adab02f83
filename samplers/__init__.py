"""Walks: how a sample travels from the noise level of t0 to 0."""
