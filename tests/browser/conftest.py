"""The editor needs a live ComfyUI; `server`, `browser` and `editor` are in tests/conftest.py."""

from helpers.host import need_host

need_host()
