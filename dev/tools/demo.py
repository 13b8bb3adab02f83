"""`python3 dev/run.py demo [--output DIR] [NAME ...]`: run the starter templates headless and write a gallery.

Every template of workflows/ (or those whose names contain a NAME) goes through the real server. A template whose model
files are not there is listed with what it needs: that is no failure. Your models are read and left as they are; what a
template trains goes away with the run.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from runtime.comfy_server import FLAGS, PACK, ComfyServer, PromptFailed, PromptRefused, ServerDied, cpu_flags
from runtime.provision import home
from tools.graph import missing_files, to_prompt


class Outcome(NamedTuple):
    """What became of one template. `problem` is empty when it gave pictures; `needs` names missing model files."""

    name: str
    pictures: list[Path]
    texts: list[str]
    seconds: float
    needs: list[str]
    problem: str


def models_folder() -> Path:
    """The person's models: of their own ComfyUI, else of our cache folder."""
    own = Path(os.environ["COMFYUI_PATH"]) / "models"
    ours = home() / "models"
    return own if "SKETCHSYNTH_PROVISIONED" not in os.environ and own.is_dir() else ours


def run_template(server: ComfyServer, template: Path, info: dict, output: Path) -> Outcome:
    """Run one template and save what it shows into `output`."""
    began = time.perf_counter()

    def outcome(pictures: list[Path], texts: list[str], needs: list[str], problem: str) -> Outcome:
        return Outcome(template.stem, pictures, texts, time.perf_counter() - began, needs, problem)

    try:
        prompt = to_prompt(json.loads(template.read_text(encoding="utf-8")), info)
        if absent := missing_files(prompt, info):
            return outcome([], [], sorted({value for _, _, value in absent}), "")
        server.post_json("/free", {"free_memory": True})  # nodes of the last graph would be kept, and show nothing
        time.sleep(0.5)  # the server's worker wakes up for that
        outputs = server.run(prompt)
    except (ValueError, KeyError, PromptRefused, PromptFailed) as failure:
        return outcome([], [], [], f"{type(failure).__name__}: {failure}")
    pictures, texts = [], []
    fed = {key for key, node in prompt.items() if any(isinstance(value, list) for value in node["inputs"].values())}
    for key, shown in sorted(
        outputs.items(), key=lambda item: item[0] in fed
    ):  # what goes in stands before what comes out
        texts += [text for text in shown.get("text", []) if isinstance(text, str)]
        entries = [entry for listed in shown.values() if isinstance(listed, list) for entry in listed]
        images = [entry for entry in entries if isinstance(entry, dict) and "filename" in entry]
        for number, image in enumerate(images):
            picture = output / f"{template.stem}-{prompt[key]['class_type']}-{key.replace(':', '.')}-{number}.png"
            picture.write_bytes(server.picture(image))
            pictures.append(picture)
    return outcome(pictures, texts, [], "" if pictures else "it ran, but no picture came out")


def write_page(outcomes: list[Outcome], output: Path) -> Path:
    """index.html with every picture, its template's time, and the texts that the nodes said."""
    parts = []
    for one in outcomes:
        state = f"needs {', '.join(one.needs)}" if one.needs else one.problem or f"{one.seconds:.1f} s"
        images = "".join(f'<img src="{quote(p.name)}" title="{html.escape(p.name)}">' for p in one.pictures)
        texts = "".join(f"<pre>{html.escape(text)}</pre>" for text in one.texts)
        parts.append(
            f"<section><h2>{html.escape(one.name)} <small>{html.escape(state)}</small></h2>{images}{texts}</section>"
        )
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1200px;padding:0 1rem}"
        "body{background:#16171b;color:#e6e6e6}h1{font-weight:500}h2{font-size:1.1rem;margin:2rem 0 .6rem}"
        "small{color:#9a9aa5;font-weight:400;margin-left:.6rem}pre{white-space:pre-wrap;color:#b9b9c4}"
        "img{max-height:320px;max-width:100%;min-height:128px;margin:0 10px 10px 0;border-radius:6px}"
    )
    page = output / "index.html"
    page.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>SketchSynth demo</title><style>{style}</style>'
        f"<h1>SketchSynth: what the starter templates give</h1>{''.join(parts)}</html>",
        encoding="utf-8",
    )
    return page


def write_sheet(outcomes: list[Outcome], output: Path) -> Path | None:
    """contact_sheet.png: one row a template, its pictures at one height, the name above."""
    from PIL import Image, ImageDraw, ImageFont

    rows = [one for one in outcomes if one.pictures]
    if not rows:
        return None
    height, gap, font = 192, 10, ImageFont.load_default(16)
    strips = []
    for one in rows:
        images = [Image.open(picture).convert("RGB") for picture in one.pictures]
        images = [image.resize((max(1, round(image.width * height / image.height)), height)) for image in images]
        strips.append((f"{one.name}   {one.seconds:.1f} s", images))
    width = gap + max(max(sum(i.width + gap for i in images), 700) for _, images in strips)
    sheet = Image.new("RGB", (width, gap + len(strips) * (height + 24 + gap)), "#16171b")
    draw = ImageDraw.Draw(sheet)
    for row, (label, images) in enumerate(strips):
        top = gap + row * (height + 24 + gap)
        draw.text((gap, top), label, fill="#e6e6e6", font=font)
        left = gap
        for image in images:
            sheet.paste(image, (left, top + 24))
            left += image.width + gap
    sheet.save(output / "contact_sheet.png")
    return output / "contact_sheet.png"


def main() -> int:
    began = time.perf_counter()
    parser = argparse.ArgumentParser(
        prog="demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only templates whose names contain one of these")
    parser.add_argument(
        "--output", type=Path, default=PACK / "demo_output", help="gallery folder (default: demo_output)"
    )
    options = parser.parse_args()
    templates = sorted((PACK / "workflows").glob("*.json"))
    if options.names:
        templates = [t for t in templates if any(name.lower() in t.stem.lower() for name in options.names)]
    if not templates:
        print("There is no template in workflows/ with such a name.")
        return 2
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("*.png"):
        old.unlink()
    models = models_folder()
    base = Path(tempfile.mkdtemp(prefix="sketchsynth-demo-"))
    try:
        print(f"starting ComfyUI ({len(templates)} templates) ...", flush=True)
        python, comfyui, flags = Path(sys.executable), Path(os.environ["COMFYUI_PATH"]), (*FLAGS, *cpu_flags())
        with ComfyServer(python, comfyui, base, read_models=models, flags=flags) as server:
            info = server.object_info()
            print(f"  up after {time.perf_counter() - began:.1f} s", flush=True)
            outcomes = []
            for template in templates:
                one = run_template(server, template, info, output)
                outcomes.append(one)
                state = f"needs {', '.join(one.needs)}" if one.needs else one.problem or f"{len(one.pictures)} pictures"
                print(f"  {one.seconds:6.1f} s  {one.name}: {state}", flush=True)
            shutil.copyfile(server.log, output / "comfyui.log")
    finally:
        shutil.rmtree(base, ignore_errors=True)
    write_sheet(outcomes, output)
    page = write_page(outcomes, output)
    ran = [one for one in outcomes if not one.needs]
    good = sum(not one.problem for one in ran)
    print(f"{good} of {len(ran)} templates gave pictures, {time.perf_counter() - began:.1f} s")
    if len(ran) < len(outcomes):
        print(
            f"{len(outcomes) - len(ran)} more wait for model files: `python3 dev/run.py models` says where to get them."
        )
    print(f"gallery: {page}\nin one picture: {output / 'contact_sheet.png'}")
    return int(any(one.problem for one in ran))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServerDied as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        sys.exit("\ninterrupted")
