"""`python3 dev/run.py metrics RESULTS REFERENCES [--features FILE]`: FID, KID, precision, recall and LPIPS of two
folders of pictures; with InceptionV3 also sFID and the Inception score.

What SketchImageMetrics does, with folders and weights from anywhere. Without --features the built-in network looks,
which needs no download; FID proper is seen by pt_inception-2015-12-05-6726825d.pth. Folders with the same file names
are paired by them for LPIPS, unless --unpaired. What a network saw of a set is kept in the launcher's cache folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.page import in_host
from runtime import inprocess
from runtime.provision import cache_root, say


def network(path: Path | None) -> Any:
    """The feature network in a file, or the built-in one. ValueError: it holds none."""
    experts = inprocess.room("nodes.extractors")
    if path is None:
        return experts.load_features(experts.STARTER)
    built, stated = inprocess.room("nodes.parts.model_files").read_network(str(path), ("features",), {})
    patcher = inprocess.room("host").network_patcher(built)
    return inprocess.room("pictures.features").features(path.name, patcher, size=stated.get("image_size", 0))


def measure(options: argparse.Namespace) -> Any:
    """SketchImageMetrics on the chosen folders. ValueError: what the node would say."""
    experts = inprocess.room("nodes.extractors")
    comparison, sets = inprocess.room("pictures.comparison"), inprocess.room("pictures.sets")
    for folder in (options.results, options.references):
        if not folder.is_dir():
            raise ValueError(f"'{folder}' is not a folder. Give two folders of pictures.")
    return comparison.compare(
        sets.Folder(options.results, options.limit),
        sets.Folder(options.references, 2 * options.limit),
        experts.usable(network(options.features)),
        experts.comparing(network(options.perceptual)),
        cache_root() / "metrics",
        size=options.size,
        smooth=options.smoothed,
        paired=not options.unpaired,
        neighbours=options.neighbours,
        with_bias=options.with_bias,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="metrics", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder of the pictures to judge")
    parser.add_argument("references", type=Path, help="folder of real pictures")
    parser.add_argument("--features", type=Path, metavar="FILE", help="what sees sets: InceptionV3, a VGG, CLIP")
    parser.add_argument("--perceptual", type=Path, metavar="FILE", help="what sees pairs: an LPIPS file or a VGG")
    parser.add_argument("--limit", type=int, default=4000, help="most results; twice as many references")
    parser.add_argument("--size", type=int, default=0, help="shorter side that pictures are brought to first; 0: none")
    parser.add_argument("--smoothed", action="store_true", help="reduce properly for InceptionV3, not as published")
    parser.add_argument("--neighbours", type=int, default=3, help="k of precision and recall; published: 3")
    parser.add_argument("--with-bias", action="store_true", help="the Inception score's logits with their bias")
    parser.add_argument("--unpaired", action="store_true", help="no LPIPS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here, too")
    options = parser.parse_args()
    try:
        found = in_host(lambda: measure(options))
    except ValueError as fault:
        say(str(fault))
        return 1
    say(found.report)
    if options.json:
        options.json.write_text(json.dumps(found.numbers(), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
