"""Any graph over folders, pairs or a CSV on one or many ComfyUI servers: `python3 batch --help`."""
