"""As much of a ControlNet as the host asks for."""

from __future__ import annotations

from typing import Any


class Control:
    """Does nothing; a test writes get_control(x, t, cond, batched_number, transformer_options)."""

    def __init__(self) -> None:
        self.multigpu_clones, self.extra_hooks, self.previous_controlnet = {}, None, None

    def on(self, prompt: list) -> list:
        """A CONDITIONING with it."""
        return [[prompt[0][0], {**prompt[0][1], "control": self, "control_apply_to_uncond": True}]]

    def get_models(self) -> list:
        return []

    def get_extra_hooks(self) -> list:
        return []

    def inference_memory_requirements(self, dtype: Any) -> int:
        return 0

    def pre_run(self, model: Any, percent_to_timestep_function: Any) -> None:
        pass

    def cleanup(self) -> None:
        pass
