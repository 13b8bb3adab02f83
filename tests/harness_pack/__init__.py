"""An empty second pack for the tests: it has one template made of core nodes."""

NODE_CLASS_MAPPINGS = {}
