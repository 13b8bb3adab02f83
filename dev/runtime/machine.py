"""One line that says where numbers were measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def busy() -> str:
    """The machine without its torch and ComfyUI, and how busy it is."""
    load = f"load average {os.getloadavg()[0]:.0f}" if hasattr(os, "getloadavg") else "load unknown"
    return f"{processor()}, {os.cpu_count()} cores, {load} at the end; Python {platform.python_version()}"


def describe() -> str:
    """Call after inprocess.prepare_host(): names the device that ComfyUI computes on."""
    import comfy.model_management as management
    import comfyui_version
    import torch

    device = management.get_torch_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{processor()}, {os.cpu_count()} cores"
    return (
        f"{name}; {platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"ComfyUI {comfyui_version.__version__}, device {device.type}"
    )
