"""Setting up, starting and loading ComfyUI: what every other room stands on. rooms.py and provision.py need no host."""
