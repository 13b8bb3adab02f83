"""Builds what a user sees of the pack: workflow templates, blueprints, thumbnails and sample pictures."""
