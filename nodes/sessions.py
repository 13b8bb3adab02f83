"""A painting that goes on over many Runs."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from .. import host
from ..pictures.fit import as_rgb
from ..pipelines.paint2pix import State
from .parts import sessions
from .parts.folders import state_of
from .parts.sockets import StateSocket

GO_ON, ANEW = "go on", "start anew"


class SketchSession(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SketchSession",
            display_name="Painting Session",
            category="sketch/progressive painting",
            description="Keeps a painting between Runs. Twice in a graph: without an image it gives what was accepted "
            "last, the ground for the next strokes; with an image it keeps that one when accept is on.",
            search_aliases=["Paint2pix", "progressive synthesis", "go on painting", "keep", "feedback loop"],
            inputs=[
                io.String.Input(
                    "name",
                    default="my painting",
                    tooltip="The painting's name, the same in both nodes. It is kept in ComfyUI's user folder.",
                ),
                io.Combo.Input(
                    "begin",
                    options=[GO_ON, ANEW],
                    tooltip="go on: from what was accepted last. start anew: from a blank ground; what is kept is "
                    "replaced by the next picture that is accepted.",
                ),
                io.Boolean.Input(
                    "accept",
                    default=False,
                    tooltip="Only with an image. On: it is kept, and the next Run goes on from it. Off: look at it "
                    "first, nothing is kept.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The new picture, as from Paint2pix Predict. Its first one is kept. Unconnected: the node "
                    "gives what was accepted last.",
                ),
                StateSocket.Input(
                    "state", optional=True, tooltip="The new picture's codes, if it has any; kept beside it."
                ),
            ],
            outputs=[
                io.Image.Output(
                    "image", display_name="image", tooltip="The ground: the accepted picture, or a black square of 256."
                ),
                StateSocket.Output(
                    "state", display_name="state", tooltip="Its codes, for Paint2pix Predict; none at the beginning."
                ),
                io.Int.Output("step", display_name="step", tooltip="How many pictures were accepted so far."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        try:
            if name is not None:
                sessions.session_file(name)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, name: str | None = None, **inputs: Any) -> str:
        """Changes with what is kept, for the node that gives it. Inputs that are connected are there, as None."""
        if name is None or "image" in inputs:
            return ""
        path = sessions.session_file(name)
        return state_of([path] if path.is_file() else [])

    @classmethod
    def execute(
        cls, name: str, begin: str, accept: bool, image: Tensor | None = None, state: State | None = None
    ) -> io.NodeOutput:
        kept = sessions.blank() if begin == ANEW else sessions.read(name)
        if image is None:
            if state is not None:
                raise ValueError("A state without its picture cannot be kept. Connect the image as well.")
            text = f"after step {kept.step}" if kept.step else "a blank ground"
            return io.NodeOutput(*kept, ui=host.text_on_node(cls, text))
        picture, step = as_rgb(image), kept.step
        if accept:
            step += 1
            first = state and State(state.before[:1], state.after[:1], state.painter)
            sessions.keep(name, picture[:1], first, step)
        text = f"step {step} is kept" if accept else f"not kept; turn accept on to make it step {step + 1}"
        return io.NodeOutput(picture, state, step, ui=host.text_on_node(cls, text))


NODES = [SketchSession]
