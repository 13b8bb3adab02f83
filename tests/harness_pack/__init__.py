"""A second pack for the tests: one template made of core nodes, and a node that waits."""

import time
from pathlib import Path

import comfy.model_management
import folder_paths


class Wait:
    """Hands an image on as soon as a file of this name is in the input folder; until then it can be interrupted."""

    CATEGORY = "harness"
    FUNCTION = "wait"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "file": ("STRING", {"default": ""})}}

    def wait(self, image, file):
        while not (Path(folder_paths.get_input_directory()) / file).is_file():
            comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(0.05)
        return (image,)


NODE_CLASS_MAPPINGS = {"HarnessWait": Wait}
