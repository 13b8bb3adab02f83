"""Reading SVG: against a browser, areas, sizes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.drawn import told


def svg(tmp_path: Path, body: str, head: str = 'viewBox="0 0 40 40"') -> Path:
    path = tmp_path / "a.svg"
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {head}>{body}</svg>', encoding="utf-8")
    return path


@pytest.fixture
def shade(read, tmp_path):
    """shade(body) is the ink [H, W] of black shapes on nothing, 0..1."""
    return lambda body, head='viewBox="0 0 40 40"', **more: (
        read(svg(tmp_path, body, head), kind="colour painting", **more).ink
    )


def test_svg_looks_as_in_a_browser(read, golden):
    """Every shape, join, cap, fill rule, transform and colour form of the subset, against Chromium's picture of it."""
    chromium = np.asarray(Image.open(golden / "drawings" / "features_chromium.png").convert("RGB")) / 255
    ours = read(golden / "drawings" / "features.svg", kind="colour painting").rgb
    assert ours.shape == chromium.shape
    difference = np.abs(ours - chromium).max(axis=-1)
    assert difference.mean() < 0.003
    assert (difference > 0.3).mean() < 3e-4


@pytest.mark.parametrize(("body", "area"), [
    ('<rect x="5" y="5" width="20" height="10"/>', 200),
    ('<rect x="5.25" y="5.5" width="20" height="10"/>', 200),
    ('<rect x="5" y="5" width="20" height="10" rx="5"/>', 200 - (4 - np.pi) * 25),
    ('<rect x="5" y="5" width="20" height="10" rx="2" ry="4"/>', 200 - (4 - np.pi) * 8),
    ('<rect x="10%" y="0" width="50%" height="25%"/>', 200),
    ('<circle cx="20" cy="20" r="10"/>', np.pi * 100),
    ('<ellipse cx="20" cy="20" rx="15" ry="6"/>', np.pi * 90),
    ('<polygon points="0,0 40,0 0,40"/>', 800),
    ('<polyline points="0,0 40,0 0,40"/>', 800),
    ('<line x1="5" y1="20" x2="35" y2="20" stroke="black" stroke-width="4"/>', 120),
    ('<line x1="5" y1="20" x2="35" y2="20" stroke="black" stroke-width="4" stroke-linecap="square"/>', 136),
    ('<line x1="5" y1="20" x2="35" y2="20" stroke="black" stroke-width="4" stroke-linecap="round"/>', 120 + np.pi * 4),
    ('<path d="M5 5h10v10h-10z"/>', 100),
    ('<path d="M5,5L15,5 15,15 5,15"/>', 100),
    ('<path d="m5 5 10 0 0 10-10 0z m20 0h5v5h-5"/>', 125),
    ('<path d="M10 20 A10 10 0 0 1 30 20 A10 10 0 0 1 10 20"/>', np.pi * 100),
    ('<path d="M10 20a10 10 0 0120 0a10 10 0 01-20 0"/>', np.pi * 100),
    ('<path d="M0 0H40V40H0Z M10 10H30V30H10Z" fill-rule="evenodd"/>', 1200),
    ('<path d="M0 0H40V40H0Z M10 10H30V30H10Z"/>', 1600),
    ('<path d="M0 0H40V40H0Z M10 10V30H30V10Z"/>', 1200),
    ('<path d="M0 20 Q20 -20 40 20Z"/>', 40 * 40 / 2 * 2 / 3),
    ('<path d="M0 20 C0 0 40 0 40 20Z"/>', 480),
    ('<g transform="translate(10) scale(2,.5)"><rect width="10" height="10"/></g>', 100),
    ('<g transform="rotate(30 20 20)"><rect x="15" y="15" width="10" height="10"/></g>', 100),
    ('<g transform="matrix(-1 0 0 1 40 0)"><path d="M5 5h10v10" fill="none" stroke="#000" stroke-width="2"/></g>', 40),
    ('<rect width="40" height="40" opacity=".5"/>', 800),
    ('<rect width="40" height="40" style="fill:#000;fill-opacity:25%"/>', 400),
    ('<g opacity=".5"><rect width="20" height="40"/><rect width="20" height="40"/></g>', 400),
    ('<rect width="40" height="40" fill="rgba(0,0,0,.25)"/>', 400),
    ('<rect width="40" height="40" fill="#0008"/>', 1600 * 136 / 255),
    ('<g fill="none"><rect width="40" height="40"/><rect fill="red" width="4" height="4"/></g>', 16),
    ('<rect width="40" height="40" display="none"/><rect width="40" height="40" visibility="hidden"/>', 0),
    ('<title>x</title><desc>y</desc><metadata><a/></metadata><defs><linearGradient/></defs>', 0),
    ('<x:namedview xmlns:x="urn:other"><x:text/></x:namedview><rect width="2" height="2"/>', 4),
    ('<path d=""/><polygon points=""/><polyline points="5,5"/><rect width="0" height="9"/>', 0),
    ('<path d="M20 20h0" stroke="#000" stroke-width="10" stroke-linecap="square"/>', 100),
    ('<path d="M20 20h0" stroke="#000" stroke-width="10"/>', 0),
    ('<rect x="-1e6" y="-1e6" width="2e6" height="2e6"/>', 1600),
    ('<rect x="50" y="50" width="10" height="10"/>', 0),
])  # fmt: skip
def test_svg_covers_its_area(shade, body, area):
    assert shade(body).sum() == pytest.approx(area, rel=0.004, abs=0.05)


def test_svg_smooth_curves_mirror_their_control_point(shade):
    assert np.allclose(
        shade('<path d="M2 20 C2 5 15 5 20 20 S38 35 38 20" fill="none" stroke="#000"/>'),
        shade('<path d="M2 20 C2 5 15 5 20 20 C25 35 38 35 38 20" fill="none" stroke="#000"/>'),
    )
    assert np.allclose(
        shade('<path d="M2 20 q8 -15 16 0 t16 0" fill="none" stroke="#000"/>'),
        shade('<path d="M2 20 Q10 5 18 20 Q26 35 34 20" fill="none" stroke="#000"/>'),
    )


@pytest.mark.parametrize(("head", "size"), [
    ('viewBox="0 0 40 30"', (40, 30)),
    ('width="80" height="60"', (80, 60)),
    ('width="100%" height="100%" viewBox="0 0 40 30"', (40, 30)),
    ('width="1in" viewBox="0 0 40 20"', (96, 48)),
    ('height="10mm" viewBox="0 0 20 10"', (76, 38)),
    ('width="60" height="60" viewBox="0 0 40 30"', (60, 60)),
])  # fmt: skip
def test_svg_size(read, tmp_path, head, size):
    assert read(svg(tmp_path, "<rect width='1' height='1'/>", head)).ink.shape == size[::-1]


@pytest.mark.parametrize(("aspect", "rows", "columns"), [
    ("", (20, 60), (0, 80)),
    ("xMidYMin", (0, 40), (0, 80)),
    ("xMaxYMax meet", (40, 80), (0, 80)),
    ("none", (0, 80), (0, 80)),
    ("xMinYMid slice", (0, 80), (0, 80)),
])  # fmt: skip
def test_svg_preserve_aspect_ratio(shade, aspect, rows, columns):
    told = f'preserveAspectRatio="{aspect}"' if aspect else ""
    ink = shade('<rect width="20" height="10"/>', f'width="80" height="80" viewBox="0 0 20 10" {told}')
    expected = np.zeros((80, 80), bool)
    expected[slice(*rows), slice(*columns)] = True
    assert np.array_equal(ink > 0.5, expected)


def test_svg_is_drawn_at_the_size_asked_for(shade):
    """Not enlarged: a thin line keeps its width in the drawing, with sharp edges, at any size."""
    ink = shade('<rect x="10" y="0" width="1" height="40"/>', size=400)
    assert ink.shape == (400, 400)
    assert np.array_equal(ink[200] > 0, (np.arange(400) >= 100) & (np.arange(400) < 110))


@pytest.mark.parametrize("element", [
    *("text", "image", "use", "filter", "linearGradient", "radialGradient", "style", "clipPath", "mask", "pattern"),
    *("symbol", "marker", "foreignObject", "script", "a", "switch", "svg", "animate"),
])  # fmt: skip
def test_svg_refuses_by_name(read, tmp_path, element):
    assert told(read, svg(tmp_path, f"<g><{element}/></g>")) == (
        f"a.svg: the element <{element}> is not in the SVG subset read here (paths and plain shapes in plain colours). "
        "Convert it to paths in your drawing program, or export a PNG."
    )


SVG_FAULTS = {
    'fill="url(#g)"': "the paint url(#g) (a gradient or pattern) is not in the SVG subset. Export a PNG.",
    'clip-path="url(#c)"': "clip-path on <rect> is not in the SVG subset read here. Export a PNG.",
    'style="filter: url(#f)"': "filter on <rect> is not in the SVG subset read here. Export a PNG.",
    'stroke-dasharray="4 2"': "stroke-dasharray on <rect> is not in the SVG subset read here. Export a PNG.",
    'fill="blurple"': 'the colour "blurple" cannot be read.',
    'fill="rgb(1,2)"': 'the colour "rgb(1,2)" cannot be read.',
    'stroke="red" stroke-width="2em"': 'the length "2em" cannot be read; units are px, pt, pc, mm, cm, in and %.',
    'transform="spin(3)"': "the transform spin with 1 numbers is not one of SVG's.",
    'transform="rotate(3"': 'the transform "rotate(3" cannot be read.',
    'transform="translate(1e308 1e308) scale(1e308)"': "coordinates are too large to draw.",
}


@pytest.mark.parametrize("attributes", SVG_FAULTS)
def test_svg_attribute_faults(read, tmp_path, attributes):
    assert told(read, svg(tmp_path, f'<rect width="9" height="9" {attributes}/>')) == f"a.svg: {SVG_FAULTS[attributes]}"


@pytest.mark.parametrize(("data", "sentence"), [
    ("L 1 2", 'path data must begin with M; it begins with "L 1 2".'),
    ("12 3", 'path data must begin with M; it begins with "12 3".'),
    ("M 1 2 L 3", 'the path data "L 3" cannot be read.'),
    ("M 1 2 K 3 4", 'the path data "K 3 4" cannot be read.'),
    ("M 1 2 Z 5", 'the path data "Z 5" cannot be read.'),
    ("M 1 2 L", 'the path data "L" cannot be read.'),
    ("M 1 2 A 1 1 0 2 0 3 4", 'the arc "1 1 0 2 0 3 4" cannot be read.'),
    ("M 1 2 L # 4", 'expected numbers and found "# 4".'),
    ("M 1e400 2 L 3 4 5 6", "coordinates are too large to draw."),
    ("M 1 2 C 1e300 1e300 -1e300 0 3 4", "coordinates are too large to draw."),
])  # fmt: skip
def test_svg_path_faults(read, tmp_path, data, sentence):
    assert told(read, svg(tmp_path, f'<path d="{data}"/>')) == f"a.svg: {sentence}"


BOMB = """<?xml version="1.0"?>
<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><title>&b;&c;</title></svg>"""
REFUSED = (
    "a.svg: a <!DOCTYPE> is refused because it can define entities. "
    "Delete that line in a text editor, or save as plain SVG."
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_svg_entities_are_refused_in_every_encoding(read, tmp_path, encoding):
    (tmp_path / "a.svg").write_text(
        BOMB.replace(' version="1.0"', f' version="1.0" encoding="{encoding[:6]}"'), encoding
    )
    assert told(read, tmp_path / "a.svg") == REFUSED


@pytest.mark.parametrize(("text", "sentence"), [
    ("<svg", "not well-formed XML (unclosed token: line 1, column 0). Save the drawing again, or export it as PNG."),
    ("<html/>", "XML, but not a drawing: its first element is <html> and not <svg>."),
    ("<svg/>", "neither a viewBox nor a width and height tell its size. Add a viewBox to the <svg> element."),
    ('<svg viewBox="0 0 0 9"/>', 'viewBox="0 0 0 9" must be four numbers, the last two above 0.'),
    ('<svg width="99999" height="99999"/>',
     "99999 x 99999 pixels cannot be drawn. Change the width and height of <svg>."),
    ('<svg width="0" height="5"/>', "0 x 5 pixels cannot be drawn. Change the width and height of <svg>."),
    ('<svg viewBox="0 0 9 9">' + "<g>" * 101 + "</g>" * 101 + "</svg>",
     "groups are nested deeper than 100. Ungroup them, or export a PNG."),
])  # fmt: skip
def test_svg_file_faults(read, tmp_path, text, sentence):
    (tmp_path / "a.svg").write_text(text)
    assert told(read, tmp_path / "a.svg") == f"a.svg: {sentence}"
