"""`python3 dev/run.py fuzz [--drawings 200] [--files 200] [--states 200] [--prompts 1000] [--tensors 500]`

Hostile input, counted. Damaged drawings go through the reader, damaged model files through the four loaders, damaged
training states through the loop, prompts with hostile widgets through ComfyUI's own validation, and tensors of odd
shapes, types and values through every node that takes one. Each must work or end in a ValueError in plain words.
Anything else is printed and counted, and makes the command fail. The tests run the same in small.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from runtime import inprocess
from runtime.provision import say

STARTERS = {"extractor": "extractor", "features": "features", "gan": "gan"}
FOLDERS = ("sketch_priors", "sketch_extractors", "sketch_features", "sketch_gan")
HOSTILE: tuple[Any, ...] = (
    *(
        None,
        True,
        5,
        -1,
        10**30,
        float("nan"),
        float("inf"),
        "nan",
        "",
        "\udcff",
        "../../x",
        "a\0b",
        "x" * 300,
        "é" * 200,
    ),
    *({}, {"a": 1}, [], [1, 2], ["9", 0], ["1", "x"], "C:\\x", "/etc/passwd", ".", "samples (built in)"),
)


class Result(NamedTuple):
    """tried: inputs; refused: with a ValueError; raw: what ended otherwise, as text."""

    tried: int
    refused: int
    raw: list[str]

    def tell(self, what: str) -> None:
        say(f"{what}: {self.tried} tried, {self.refused} refused in a sentence, {len(self.raw)} raw")
        for text in self.raw[:5]:
            say(f"  {text}")


def attempt(what: str, run: Callable[[], Any], raw: list[str]) -> bool:
    """Runs; True for a ValueError. Anything else is added to `raw`."""
    try:
        run()
    except ValueError as error:
        if not str(error).strip() or "Traceback" in str(error):
            raw.append(f"{what}: an empty sentence")
        str(error).encode()  # what the host's log cannot write ends its queue
        return True
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raw.append(
            f"{what}: {type(error).__name__}: {str(error)[:100]!r} at {Path(frame.filename).name}:{frame.lineno}"
        )
    return False


# --- drawings ---------------------------------------------------------------------------------------------------------


def mutated(original: bytes, generator: random.Random) -> bytes:
    """A few bytes changed, cut out, repeated, or exchanged for something that means something."""
    data = bytearray(original)
    words = (b"<", b">", b"&a;", b'"', b"1e999", b"-1", b"NaN", b"url(#a)", b"%", b"\0", b"\xff", b"]]>", b"<!--", b"{")
    for _ in range(generator.randint(1, 6)):
        at, end = sorted(generator.randrange(len(data) + 1) for _ in range(2))
        end = min(end, at + 40)
        match generator.randrange(4):
            case 0:
                data[at:end] = bytes(generator.randrange(256) for _ in range(end - at))
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * generator.randint(1, 3)
            case _:
                data[at:at] = generator.choice(words)
    return bytes(data)


def drawings(count: int, seed: int, folder: Path) -> Result:
    """Drawings of every kind with bytes changed, through the reader."""
    read = inprocess.room("pictures.drawings").read_drawing
    rng, raw, refused = random.Random(seed), [], 0
    known = inprocess.PACK / "tests" / "golden" / "drawings" / "cases"
    sources = sorted(path for path in known.iterdir() if path.suffix != ".json")
    for number in range(count):
        source = rng.choice(sources)
        path = folder / f"{number}{source.suffix}"
        path.write_bytes(mutated(source.read_bytes(), rng))
        what = f"drawing {number} (seed {seed}) from {source.name}"
        refused += attempt(what, lambda path=path: read(path, size=64), raw)
        path.unlink()
    return Result(count, refused, raw)


# --- model files ------------------------------------------------------------------------------------------------------


def damaged(weights: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], dict[str, str]]:
    """Weights and metadata with one thing wrong."""
    import torch

    keys = sorted(weights)
    key, kind = rng.choice(keys), rng.randrange(12)
    made, notes = dict(weights), {}
    if kind == 0:
        made = {name: torch.zeros(4) for name in made}
    elif kind == 1:
        made = {name: torch.tensor(1.0) for name in made}
    elif kind == 2:
        made = {name: value.to(rng.choice([torch.int64, torch.bool])) for name, value in made.items()}
    elif kind == 3:
        made = {name: value[::2].contiguous() if value.ndim else value for name, value in made.items()}
    elif kind == 4:
        del made[key]
    elif kind == 5:
        made[f"{key}.more"] = torch.zeros(2)
    elif kind == 6:
        made[key] = (
            torch.full_like(made[key], float(rng.choice(["nan", "inf"])))
            if made[key].is_floating_point()
            else made[key]
        )
    elif kind == 7:
        made[key] = made[key][None]
    elif kind == 8:
        made = {f"module.{name}" if rng.random() < 0.5 else name: value for name, value in made.items()}
    elif kind == 9:
        setting = rng.choice(["num_heads", "num_head_channels", "norm_groups", "use_new_attention_order", "image_size"])
        notes = {
            setting: rng.choice(["abc", "0", "-3", "7", "null", "[1,2]", "{}", "1e99", "[" * 3000 + "]" * 3000, '"'])
        }
    elif kind == 10:
        made[key] = made[key].new_zeros([0, *made[key].shape[1:]] if made[key].ndim else [0])
    else:
        for name in rng.sample(keys, min(9, len(keys))):
            shape = list(made[name].shape)
            rng.shuffle(shape)
            made[name] = made[name].reshape(shape)
    return made, notes


def model_file(folder: Path, weights: dict[str, Any], rng: random.Random, number: int) -> Path:
    """One damaged file: its tensors, its bytes, or its kind."""
    import torch
    from safetensors.torch import save_file

    path, kind = folder / f"{number}.safetensors", rng.randrange(4)
    if kind < 2:
        made, notes = damaged(weights, rng)
        save_file({name: value.contiguous().clone() for name, value in made.items()}, path, notes)
        return path
    if kind == 2:
        save_file(weights, path)
        content = bytearray(path.read_bytes())
        if rng.random() < 0.4:
            content = content[: rng.randrange(len(content))]
        for _ in range(rng.randrange(6)):
            if content:
                content[rng.randrange(min(len(content), 4000))] = rng.randrange(256)
        path.write_bytes(content)
        return path
    path, held = path.with_suffix(".pt"), []
    held.append(held)
    wraps: list[Any] = [held, {"x": held}, {"ema": weights}, [weights, held], {1: weights}, 5, "text", {"a": {}}, [[]]]
    torch.save(rng.choice(wraps), path)
    return path


def model_files(count: int, seed: int, folder: Path) -> Result:
    """Damaged copies of the built-in weights through every loader."""
    import folder_paths
    from safetensors.torch import load_file

    rng, raw, refused = random.Random(seed), [], 0
    starters = [load_file(inprocess.PACK / f"starter/weights/{name}.safetensors") for name in STARTERS.values()]
    before = {name: folder_paths.folder_names_and_paths[name] for name in FOLDERS}
    nodes = {name: inprocess.room(f"nodes.{name}") for name in ("priors", "extractors", "sketchgan")}
    loaders: tuple[Callable[[str], Any], ...] = (
        lambda name: nodes["priors"].load_prior(str(folder / name), {}),
        nodes["extractors"].load_extractor,
        nodes["extractors"].load_features,
        nodes["sketchgan"].load_gan,
    )
    try:
        for name in FOLDERS:
            folder_paths.folder_names_and_paths[name] = ([str(folder)], before[name][1])
        for number in range(count):
            which = rng.randrange(len(starters))
            path = model_file(folder, starters[which], rng, number)
            likely = rng.random() < 0.8
            load = loaders[which + 1] if likely else rng.choice(loaders)
            refused += attempt(f"file {number} (seed {seed})", lambda load=load, path=path: load(path.name), raw)
            path.unlink()
    finally:
        for name in FOLDERS:
            folder_paths.folder_names_and_paths[name] = before[name]
    return Result(count, refused, raw)


# --- training states --------------------------------------------------------------------------------------------------


def hostile_states(rng: random.Random, good: dict[str, Any]) -> Iterator[Any]:
    """Endless states with one thing wrong."""
    import torch

    values = (
        None,
        "many",
        -5,
        10**30,
        float("nan"),
        [],
        {},
        [5],
        torch.zeros(2),
        [{}],
        [{"step": "x"}],
        True,
        {"a": {}},
    )
    while True:
        state = copy.deepcopy(good)
        where = rng.choice([state, state["lesson"], state["identity"]])
        key = rng.choice(sorted(where)) if where else "steps"
        if rng.random() < 0.2:
            where.pop(key, None)
        else:
            where[key] = rng.choice(values)
        yield state if rng.random() < 0.95 else rng.choice(values)


def states(count: int, seed: int, folder: Path) -> Result:
    """Damaged states of a training, taken up."""
    import torch

    loop, supervised = inprocess.room("training.loop"), inprocess.room("training.supervised")
    rng, raw, refused = random.Random(seed), [], 0

    class LineTask(supervised.Task):
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(1, 1)

        def loss(self, batch: Any, rng: Any) -> Any:
            return self.line(batch).square().mean()

        def weights(self) -> dict[str, Any]:
            return self.line.state_dict()

    def lesson() -> Any:
        return supervised.SupervisedLesson(
            "line", LineTask(), lambda step: torch.ones(2, 1), learning_rate=0.1, ema=0.9
        )

    def run() -> None:
        with lesson() as one:
            loop.learn(one, folder, loop.Goal(3))

    with torch.inference_mode(False), torch.enable_grad():
        run()
        path = folder / "line.state"
        good = torch.load(path, weights_only=True)
        for number, state in zip(range(count), hostile_states(rng, good), strict=False):
            torch.save(state, path)
            if rng.random() < 0.2:
                path.write_bytes(path.read_bytes()[: rng.randrange(2000)])
            refused += attempt(f"state {number} (seed {seed})", run, raw)
    return Result(count, refused, raw)


# --- prompts ----------------------------------------------------------------------------------------------------------


def prompts(count: int, seed: int) -> Result:
    """Prompts of one node each with hostile widgets, through the host's validation: what it calls an exception in
    validation is one of ours that was not a sentence."""
    import execution

    rng, raw, refused = random.Random(seed), [], 0
    nodes = {node.GET_SCHEMA().node_id: node for node in inprocess.room("nodes").NODES}
    for number in range(count):
        name = rng.choice(sorted(nodes))
        node: dict[str, Any] = {"class_type": name, "inputs": {}}
        for item in nodes[name].GET_SCHEMA().inputs:
            options = getattr(item, "options", None)
            plain = getattr(item, "default", None)
            node["inputs"][item.id] = options[0] if plain is None and options and isinstance(options[0], str) else plain
        for key in rng.sample(sorted(node["inputs"]), min(len(node["inputs"]), rng.randrange(1, 4))):
            if rng.random() < 0.2:
                del node["inputs"][key]
            else:
                node["inputs"][key] = rng.choice(HOSTILE)
        prompt = {"1": node, "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}}
        what = f"prompt {number} (seed {seed}): {name} {node['inputs']!r}"
        try:
            fine, error, _, errors = asyncio.run(execution.validate_prompt(str(number), prompt, None))
            refused += not fine
            told = [one for found in errors.values() for one in found["errors"]] + ([error] if error else [])
            json.dumps(told).encode()
            bad = [one for one in told if "exception" in one.get("type", "") and "bad_linked" not in one["type"]]
            frames = [line for one in bad for line in one.get("extra_info", {}).get("traceback", ()) if _ours(line)]
            if frames:
                raw.append(f"{what}: {bad[0]['message']} {bad[0]['details']} {frames[-1].strip().splitlines()[0]}")
        except Exception as error:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _ours(frame.filename)]
            if frames:
                raw.append(f"{what}: {type(error).__name__}: {error} at {frames[-1].filename}:{frames[-1].lineno}")
    return Result(count, refused, raw)


# --- tensors ----------------------------------------------------------------------------------------------------------


def tensors(count: int, seed: int) -> Result:
    """Odd tensors at every door that takes one, in turn. An error is a sentence of ours if it is a ValueError that our
    own code raises; one that never enters our code is the host's own affair."""
    import torch

    from tools.odd_tensors import Doors

    rng, raw, refused = random.Random(seed), [], 0
    with torch.inference_mode():
        doors = list(Doors().all().items())
        for number in range(count):
            name, door = doors[number % len(doors)]
            try:
                door(rng)
            except Exception as error:
                frames = traceback.extract_tb(error.__traceback__)
                refused += 1
                plain = isinstance(error, ValueError) and _ours(frames[-1].filename)
                if any(_ours(frame.filename) for frame in frames) and not plain:
                    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
                    told = f"{type(error).__name__}: {str(error)[:200]!r} at {where}"
                    raw.append(f"tensor {number} (seed {seed}), {name}: {told}")
    return Result(count, refused, raw)


def _ours(text: str) -> bool:
    return str(inprocess.PACK) in text and "/dev/" not in text and "/tests/" not in text


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    counts = {"drawings": 200, "files": 200, "states": 200, "prompts": 1000, "tensors": 500, "seed": 0}
    for name, count in counts.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    options = parser.parse_args()
    host = inprocess.find_host()
    if host is None:
        sys.exit(inprocess.NO_HOST)
    inprocess.prepare_host(host, cpu=True)
    inprocess.load_pack()
    asyncio.run(inprocess.host_nodes().init_builtin_extra_nodes())
    folder = Path(tempfile.mkdtemp(prefix="sketchsynth-fuzz-"))
    try:
        found = SimpleNamespace(
            drawings=drawings(options.drawings, options.seed, folder),
            files=model_files(options.files, options.seed, folder),
            states=states(options.states, options.seed, folder),
            prompts=prompts(options.prompts, options.seed),
            tensors=tensors(options.tensors, options.seed),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found.drawings.tell("damaged drawings")
    found.files.tell("damaged model files")
    found.states.tell("damaged training states")
    found.prompts.tell("hostile prompts")
    found.tensors.tell("odd tensors")
    return int(any(result.raw for result in vars(found).values()))


if __name__ == "__main__":
    sys.exit(main())
