"""What the tests of reading drawings share."""

from __future__ import annotations

from pathlib import Path

import pytest


def told(read, path: Path, **more) -> str:
    """The sentence that the user gets instead of a drawing."""
    with pytest.raises(ValueError, match=r".") as error:
        read(path, **more)
    return str(error.value)
