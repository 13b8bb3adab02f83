"""`python3 dev/run.py families`: every method on a tiny random model of every family of the host, into docs/MODELS.md.

The models have the families' own networks, latents and noise, only small and with random weights: what the page says is
that a method runs and keeps to its contract, not how its pictures look. About a minute on one core.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from runtime import inprocess

PAGE = inprocess.PACK / "docs" / "MODELS.md"
YES = "yes"

HEAD = """# Models

Written by `python3 dev/run.py families` on ComfyUI {host}: every method on a tiny random model of every family in
ComfyUI's list. The networks, latents and noise are the family's own; only the sizes are small. So the table says what
runs and what is refused, not how pictures look.

- **SDEdit**: Noise to t0 and SDE Sampler, with a kept region. **Repeats**: Repeat Sampler. **Jump**: Jump Sampler.
- **Energies**: on the prediction, through the linear map or pixels. **Through the model**: the point of that name.
- **GradOP**: GradOP Solve. **Regions**: Cross-Attention Region Map.

{table}

{notes}

Latents with a time axis (Qwen-Image, Krea 2, Anima, Cosmos, Wan) hold one picture here, that is one frame; more frames
are refused. Encode each picture by itself: on these models the host's VAE Encode makes a batch of pictures the frames
of one video (Shape Inversion encodes them one by one).
"""

TAIL = """
## Where to start

Steps, CFG, sampler and scheduler as ComfyUI's own templates have them. t0 means the same on every model, because it
names a noise-to-signal ratio: 0.4 to 0.65 keeps a painting's layout. Give a distilled model (4 to 8 steps at CFG 1) its
full number of steps for the walk from t0. Energies and regions then need their whole strength in each of them: leave
windows open, and set the schedule of regions to *constant*.

{starts}

## The rest of the list

{rest}
"""


def table_of(results: dict[str, dict[str, str]], families: dict[str, Any]) -> tuple[str, str]:
    """The table, and a numbered list of the reasons that it points to. results: by family and method, "yes" or why."""
    reasons: list[str] = []
    methods = list(next(iter(results.values())))
    lines = ["| family | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for name, cells in results.items():
        shown = []
        for reason in cells.values():
            if reason != YES and reason not in reasons:
                reasons.append(reason)
            shown.append(YES if reason == YES else f"no ({reasons.index(reason) + 1})")
        lines.append(f"| {families[name].title} | " + " | ".join(shown) + " |")
    return "\n".join(lines), "\n".join(f"{number}. {reason}." for number, reason in enumerate(reasons, 1))


def page_of(results: dict[str, dict[str, str]], host: str) -> str:
    from helpers.tiny_families import FAMILIES, LIKE, OTHERS, STARTS

    table, notes = table_of(results, FAMILIES)
    starts = ["| family | sampling |", "|---|---|"] + [
        f"| {FAMILIES[name].title} | {STARTS[name]} |" for name in STARTS
    ]
    alike: dict[str, list[str]] = {}
    for kind, family in LIKE.items():
        alike.setdefault(family, []).append(kind)
    rest = [f"- as {FAMILIES[family].title}: {', '.join(kinds)}" for family, kinds in alike.items()]
    why: dict[str, list[str]] = {}
    for kind, reason in OTHERS.items():
        why.setdefault(reason, []).append(kind)
    rest += [f"- {reason}: {', '.join(kinds)}" for reason, kinds in why.items()]
    text = HEAD.format(host=host, table=table, notes=notes)
    return text + TAIL.format(starts="\n".join(starts), rest="\n".join(rest))


def main() -> None:
    host = inprocess.find_host()
    if host is None:
        sys.exit(inprocess.NO_HOST)
    inprocess.prepare_host(host)
    inprocess.load_pack()
    sys.path.append(str(Path(inprocess.PACK) / "tests"))
    import torch
    from comfyui_version import __version__

    from helpers.methods import METHODS, Bench, tried
    from helpers.tiny_families import FAMILIES

    results: dict[str, dict[str, str]] = {}
    for name in FAMILIES:
        with torch.inference_mode():
            bench = Bench(inprocess.room, name)
            results[name] = {method: tried(bench, method) for method in METHODS}
        print(name, *(f"{m}: {cell}" for m, cell in results[name].items() if cell != YES), sep="  ", flush=True)
    PAGE.write_text(page_of(results, __version__), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
