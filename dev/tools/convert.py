"""`python3 dev/run.py convert FILE [...] [--output FOLDER]`: a published checkpoint -> .safetensors.

Reads as the nodes do (tensors only, nothing in the file is run), takes the weights that they would take (averaged ones
where there are any), and writes them beside the file, or into FOLDER, under the published key names. Prints the kind of
network and both files' sha256, for models_manifest.json. A file that is there already is not overwritten.

Of a sketch GAN or a TOM only what paints is written, its norms folded; with --training all of it, to go on training.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from runtime import inprocess
from runtime.provision import say
from tools import models


def convert(path: Path, output: Path, training: bool = False) -> Path:
    """Writes the network's weights to output. ValueError: no network known here, or output is there already.

    Tensors that share memory in a pickle are written out each for itself. What the file states in its metadata stays.
    training: a sketch GAN or a TOM keeps its discriminator, its norm vectors and weights that are not averaged.
    """
    from safetensors.torch import save_file

    files, networks = inprocess.room("nodes.parts.model_files"), inprocess.room("networks")
    if output.exists():
        raise ValueError(f"'{output}' is there already. Remove it, or choose another folder with --output.")
    found, metadata = files.read_groups(str(path))
    weights = next((weights for weights in found if networks.recognise(weights, *networks.ROLES)), None)
    if weights is None:
        raise ValueError(
            f"'{path.name}' holds no network known here. Known are: {networks.supported(*networks.ROLES)}."
        )
    layout = networks.recognise(weights, *networks.ROLES)
    if (layout.role == "gan" or layout.name == "TOM") and not training:
        weights = layout.rename(weights)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_suffix(".partial")
    save_file({key: value.clone().contiguous() for key, value in weights.items()}, part, metadata)
    part.replace(output)
    say(f"{path.name}: {layout.name}, {len(weights)} tensors")
    for file in (path, output):
        say(f"  {models.sha256_of(file)}  {file}")
    return output


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to write (default: beside each file)")
    parser.add_argument("--training", action="store_true", help="keep all of a sketch GAN or a TOM, to go on training")
    options = parser.parse_args()
    host = inprocess.find_host()
    if host is None:
        sys.exit(inprocess.NO_HOST)
    inprocess.prepare_host(host, cpu=True)
    inprocess.load_pack()
    failed = 0
    for path in options.files:
        try:
            convert(path, (options.output or path.parent) / f"{path.stem}.safetensors", options.training)
        except (ValueError, OSError) as fault:
            say(f"{path}: {fault}")
            failed += 1
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
