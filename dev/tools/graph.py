"""Editor graph -> API prompt for dev/ and the tests: batch/prompt.py of the pack, under the name used here."""

from __future__ import annotations

from runtime.rooms import room

_prompt = room("batch.prompt")
NEVER, BYPASS, VIRTUAL = _prompt.NEVER, _prompt.BYPASS, _prompt.VIRTUAL
SUBGRAPH_INPUT, SUBGRAPH_OUTPUT = _prompt.SUBGRAPH_INPUT, _prompt.SUBGRAPH_OUTPUT
GraphError = _prompt.GraphError
slots, widget_inputs = _prompt.slots, _prompt.widget_inputs
to_prompt, missing_files = _prompt.to_prompt, _prompt.missing_files
