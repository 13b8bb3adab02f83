"""What networks raise."""


class Unsupported(ValueError):
    """Sizes or settings that a network does not support; the message is a whole sentence for the user."""
