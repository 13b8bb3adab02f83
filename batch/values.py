"""What a person writes for an input -> a value that the server takes, checked against the server's own limits."""

from __future__ import annotations

from typing import Any

from .. import files
from .graph import Target
from .prompt import options_of

YES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
SHOWN = 8  # choices in a message


def parse(target: Target, text: str) -> Any:
    """The value of `text` for that input: a number, true or false, a choice, or the text itself.

    ValueError: not of the input's kind, outside its limits, or not among its choices."""
    kind = target.kind
    try:
        value: Any = {"INT": int, "FLOAT": float}.get(kind, str)(text.strip() if kind in ("INT", "FLOAT") else text)
        if kind == "BOOLEAN":
            value = YES[text.strip().lower()]
    except (KeyError, ValueError):
        what = {"INT": "a whole number", "FLOAT": "a number", "BOOLEAN": "true or false"}[kind]
        raise ValueError(f"{target.label} needs {what}, got {files.quote(text)}.") from None
    fault = check(target, value)
    if fault:
        raise ValueError(fault)
    return value


def choices(spec: Any) -> list[Any] | None:
    """What a combo offers; None for inputs that are none, and for lists that the editor fetches from elsewhere."""
    options = options_of(spec)
    listed = spec[0] if isinstance(spec[0], list) else options.get("options") if spec[0] == "COMBO" else None
    return listed if isinstance(listed, list) and not options.get("remote") else None


def check(target: Target, value: Any) -> str:
    """What is wrong with a value, as a sentence; empty if nothing is. Names of files to upload are not looked up."""
    options = target.options
    if target.kind in ("INT", "FLOAT") and isinstance(value, (int, float)):
        low, high = options.get("min", float("-inf")), options.get("max", float("inf"))
        if not low <= value <= high:
            return f"{target.label} must be {low} to {high}, got {value}."
    listed = choices(target.spec)
    if listed is not None and not target.takes_files and not isinstance(value, list) and value not in listed:
        known = ", ".join(map(str, listed[:SHOWN])) + (", ..." if len(listed) > SHOWN else "")
        return f"{target.label}: {files.quote(value)} is not among the choices ({known or 'there are none'})."
    return ""
