"""Reading SVG: against a browser, areas, sizes, what drawing programs write, and hostile files."""

from __future__ import annotations

import base64
import gzip
import http.server
import itertools
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.drawn import told
from tools import fuzz


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
    """Every shape, join, cap, fill rule, transform and colour form, against Chromium's picture of it."""
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
    """The renderer knows 16 steps of coverage in a pixel: a shape of 2 x 2 pixels is right to a tenth of a pixel."""
    assert shade(body).sum() == pytest.approx(area, rel=0.01, abs=0.12)


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
    ('width="2em" height="1em" viewBox="0 0 40 20"', (32, 16)),
    ('width="nonsense" height="-3" viewBox="0 0 40 20"', (40, 20)),
    ('width="40" height="20" viewBox="0 0 nonsense"', (40, 20)),
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


def seen(read, tmp_path, body: str, x: float = 20, y: float = 20, head: str = 'viewBox="0 0 40 40"') -> list[int]:
    """The colour, 0 to 255, at a point of a drawing of 40 x 40 on white."""
    rgb = read(svg(tmp_path, body, head), kind="colour painting", invert="no").rgb
    return (rgb[int(y), int(x)] * 255).round().astype(int).tolist()


# --- what drawing programs write -------------------------------------------------------------------------------------

RED, GREEN, BLUE, WHITE, BLACK = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255] * 3, [0] * 3

# What a browser makes of each: CSS Color 4, CSS Transforms 1, SVG 2. None: the declaration before it applies.
COLOURS = {
    "RED": RED, "#F00": RED, "#ff0000ff": RED, "rgb(255 0 0)": RED, "rgb(100%, 0%, 0%)": RED, "initial": BLACK,
    "hsl(0 100% 50%)": RED, "hsl(120deg, 100%, 50%)": GREEN, "hsl(0.6667turn 100% 50%)": BLUE, "hwb(240 0% 0%)": BLUE,
    "color(srgb 1 0 0)": RED, "color(srgb-linear 0 1 0)": GREEN, "color(display-p3 0.9175 0.2003 0.1386)": RED,
    "oklch(0.628 0.2577 29.23)": RED, "oklab(0.8664 -0.2339 0.1795)": GREEN, "lab(54.29 80.82 69.88)": RED,
    "lch(29.57 131.2 301.36)": BLUE, "light-dark(red, blue)": RED, "light-dark(rgb(0, 255, 0), var(--x, #123))": GREEN,
    "var(--brand)": BLUE, "var(--none, red)": RED, "var(--none, var(--brand))": BLUE, "currentcolor": GREEN,
    "rgba(255,0,0,.5)": [255, 128, 128], "rgb(255 0 0 / 50%)": [255, 128, 128], "#f008": [255, 119, 119],
    "color-mix(in srgb, red, blue)": [128, 0, 128], "color-mix(in oklab, red 25%, rgb(0 0 255))": [64, 0, 191],
    "color-mix(in srgb, red, transparent)": [255, 128, 128], "color-mix(in srgb, red 80%, red 20%)": RED,
    "transparent": WHITE, "none": WHITE, "url(#gone)": WHITE, "url(#gone) red": RED, "url(http://a.b/c#d) red": RED,
    "blurple": None, "color-mix(red, blue)": None, "rgb(1,2)": None, "var(--none)": None, "light-dark(": None,
}  # fmt: skip


@pytest.mark.parametrize("where", ["attribute", "style", "sheet", "sheet in defs", "media", "root style"])
@pytest.mark.parametrize("colour", COLOURS)
def test_svg_colours_of_today(read, tmp_path, colour, where):
    """Wherever they stand. What cannot be read leaves the declaration before it."""
    expected = COLOURS[colour]
    if expected is None and where == "attribute":
        pytest.skip("an attribute has no declaration before it")
    first = "" if where == "attribute" else "fill:orange;"
    shape = '<rect width="40" height="40"'
    sheet = f"<style>:root {{--brand: blue}} .a{{{first}fill:{colour}}}</style>"
    body = {
        "attribute": f'{shape} fill="{colour}"/>',
        "style": f'{shape} style="{first}fill:{colour}"/>',
        "sheet": f'{sheet}{shape} class="a"/>',
        "sheet in defs": f'<defs>{sheet}</defs>{shape} class="b a"/>',
        "media": f"<style>@media screen {{.a{{{first}fill:{colour}}}}} @media print {{.a{{fill:gray}}}}</style>"
        f'{shape} class="a"/>',
        "root style": f"{shape}/>",
    }[where]
    root = f' style="{first}fill:{colour}"' if where == "root style" else ""
    head = f'viewBox="0 0 40 40" color="#0f0"{root}'
    got = seen(read, tmp_path, f"<style>svg{{--brand: blue}}</style>{body}", head=head)
    assert np.abs(np.array(got) - (expected or [255, 165, 0])).max() <= 2, got


@pytest.mark.parametrize(("style", "point"), [
    ("transform:translate(20px,20px)", (25, 25)),
    ("transform: translate(20px)", (25, 5)),
    ("transform:translateX(20px) translateY(20px)", (25, 25)),
    ("transform:translate(30px, 10px) rotate(90deg)", (25, 15)),
    ("transform:translate(30px, 10px) rotate(.25turn)", (25, 15)),
    ("transform:scale(4)", (35, 35)),
    ("transform:matrix(1,0,0,1,20,0)", (25, 5)),
    ("transform-origin:10px 10px;transform:rotate(180deg)", (15, 15)),
])  # fmt: skip
@pytest.mark.parametrize("sheet", [False, True])
def test_svg_transforms_in_css(read, tmp_path, style, point, sheet):
    rect = '<rect width="10" height="10" '
    body = f"<style>rect{{{style}}}</style>{rect}/>" if sheet else f'{rect}style="{style}"/>'
    assert seen(read, tmp_path, body, *point) == BLACK


@pytest.mark.parametrize(("body", "colour"), [
    ('<svg x="10" y="10" width="20" height="20" viewBox="0 0 1 1"><rect width="1" height="1" fill="red"/></svg>', RED),
    ('<svg width="50%" height="50%"><rect width="99" height="99" fill="red"/></svg>', WHITE),
    ('<svg width="50%" height="50%" overflow="visible"><rect width="99" height="99" fill="red"/></svg>', RED),
    ('<symbol id="s" viewBox="0 0 2 2"><rect width="2" height="2" fill="red"/></symbol>'
     '<use href="#s" width="40" height="40"/>', RED),
    ('<defs><rect id="r" width="40" height="40"/></defs><use xlink:href="#r" fill="red"/>', RED),
    ('<clipPath id="c"><rect width="10" height="10"/></clipPath><rect width="40" height="40" clip-path="url(#c)"/>',
     WHITE),
    ('<clipPath id="c"><rect width="30" height="30"/></clipPath><rect width="40" height="40" clip-path="url(\'#c\')"/>',
     BLACK),
    ('<mask id="m"/><rect width="40" height="40" fill="red"/><mask/>', RED),
    ('<linearGradient id="g"><stop stop-color="red"/></linearGradient><rect width="40" height="40" fill="url(#g)"/>',
     RED),
    ('<radialGradient id="g"><stop stop-color="hsl(240 100% 50%)"/></radialGradient>'
     '<rect width="40" height="40" fill="url(#g)"/>', BLUE),
    ('<pattern id="p" width="2" height="2" patternUnits="userSpaceOnUse"><rect width="2" height="2" fill="red"/>'
     '</pattern><rect width="40" height="40" fill="url(#p)"/>', RED),
    ('<switch><foreignObject requiredExtensions="urn:x" width="9" height="9"/><rect width="40" height="40" fill="red"/>'
     "</switch>", RED),
    ('<a xlink:href="http://example.org"><rect width="40" height="40" fill="red"/></a>', RED),
    ('<path d="M0 20H40" stroke="red" stroke-width="10" stroke-dasharray="0"/>', RED),
    ('<path d="M0 20H40" stroke="red" stroke-width="10" stroke-dasharray="15 10"/>', WHITE),
    ('<path d="M0 0H40V40H0L NaN" fill="red"/>', RED),
    ('<x:view xmlns:x="urn:other"><rect width="40" height="40"/></x:view>', WHITE),
    ('<script>alert(1)</script><rect width="40" height="40" fill="red" onload="alert(1)"/>', RED),
    ('<rect style="x:5px;y:5px;width:30px;height:30px" fill="red"/>', RED),
    ('<circle cx="20" cy="20" style="r:10px" fill="red"/>', RED),
    ('<svg:rect xmlns:svg="http://www.w3.org/2000/svg" width="40" height="40" fill="red"/>', RED),
    ('<g style="display:none"><rect width="40" height="40"/></g>', WHITE),
    ('<style media="print">rect{fill:red}</style><rect width="40" height="40"/>', BLACK),
    ('<style>rect:hover{fill:red} rect:first-child{fill:red} rect{fill:blue}</style><rect width="40" height="40"/>',
     BLUE),
    ('<style><![CDATA[ g > rect { fill: red } ]]></style><g><rect width="40" height="40"/></g>', RED),
    ('<rect width="2cm" height="40" fill="red"/>', RED),
    ('<path d="M0 20H40" stroke="red" stroke-width="10mm"/>', RED),
    ('<path d="M0 20H40" style="stroke:red;stroke-width:1in"/>', RED),
    ('<rect x="-5pt" width="3pc" height="1in" fill="red"/>', RED),
    ('<switch><rect systemLanguage="xx" width="40" height="40"/><rect systemLanguage="en" width="40" height="40" '
     'fill="red"/><rect width="40" height="40" fill="blue"/></switch>', RED),
    ('<g style="--k:red"><rect width="40" height="40" fill="var(--k)"/></g><g style="--k:blue"/>', RED),
    ('<g style="--k:blue"/><g style="--k:red"><rect width="40" height="40" style="fill:var(--k)"/></g>', RED),
    ('<rect width="40" height="40" fill="color-mix(in srgb, red 100%, blue)"/>', RED),
    ('<path style="d:path(\'M0 0H40V40H0Z\')" fill="red"/>', RED),
    ('<style>:is(.a, .b) {fill: red}</style><rect class="b" width="40" height="40"/>', RED),
    ('<style>g:where(.a, .b) > rect, circle {fill: red}</style><g class="a"><rect width="40" height="40"/></g>', RED),
    ('<style>rect:not(.x, .y) {fill: blue} rect {fill: red}</style><rect width="40" height="40"/>', RED),
    ('<rect width=" 40 " height="\n40" fill=" red "/>', RED),
])  # fmt: skip
def test_svg_of_drawing_programs(read, tmp_path, body, colour):
    body = body.replace("xlink:href", "x:href")
    assert seen(read, tmp_path, body, head='viewBox="0 0 40 40" xmlns:x="http://www.w3.org/1999/xlink"') == colour


@pytest.mark.parametrize("doctype", [
    '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">',
    '<!DOCTYPE svg SYSTEM "svg.dtd" [<!ENTITY ink "red"><!ENTITY ns "urn:adobe">]>',
    '<!DOCTYPE svg [<!ENTITY ink "&#114;ed"><!ATTLIST rect fill CDATA "red">]>',
    "<!DOCTYPE svg>",
    "",
])  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1", "cp1251", "shift_jis"])
def test_svg_doctypes_and_encodings(read, tmp_path, doctype, encoding):
    ink = "&ink;" if "ENTITY ink" in doctype else "red"
    declared = {"utf-8-sig": "utf-8", "utf-16-be": "utf-16"}.get(encoding, encoding)
    text = (
        f'<?xml version="1.0" encoding="{declared}"?>\n{doctype}<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 40 40"><rect width="40" height="40" fill="{ink}"/></svg>'
    )
    (tmp_path / "a.svg").write_bytes(text.encode(encoding))
    assert (read(tmp_path / "a.svg").rgb[20, 20] * 255).round().tolist() == RED


@pytest.mark.parametrize("name", ["a.svgz", "a.svg"])
def test_svg_compressed(read, tmp_path, name):
    plain = svg(tmp_path, '<rect width="20" height="40"/>').read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(plain))
    assert read(tmp_path / name).ink.mean() == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize("start", ["\n  ", "\ufeff\n", "", "<!-- made by hand -->"])
@pytest.mark.parametrize(
    "root", ['<svg viewBox="0 0 40 40">', '<s:svg xmlns:s="http://www.w3.org/2000/svg" viewBox="0 0 40 40">']
)
def test_svg_cut_out_of_a_page(read, tmp_path, start, root):
    """Without the namespaces that a page provides, and with space before the first tag."""
    s = "s:" if root.startswith("<s:") else ""
    body = f'{root}<{s}a xlink:href="#x"><{s}rect width="40" height="40" fill="red"/></{s}a></{s}svg>'
    (tmp_path / "a.svg").write_text(f"{start}{body}", encoding="utf-8")
    assert (read(tmp_path / "a.svg").rgb[20, 20] * 255).round().tolist() == RED


def test_svg_percentages_refer_to_the_viewbox_in_every_frame(read, drawings, tmp_path):
    """What is cropped away does not change what is left."""
    body = '<rect x="50%" width="10%" height="100%"/><line x1="0" x2="100%" y1="50%" y2="50%" stroke="#000"/>'
    path = svg(tmp_path, body, 'viewBox="10 -5 100 50"')
    whole = read(path, size=400, kind="colour painting").ink
    cropped = read(path, size=200, frame="square, crop", kind="colour painting").ink
    assert cropped.shape == (200, 200)
    assert np.abs(whole[:, 100:300] - cropped).max() < 0.02
    assert whole[60, 160:199].min() > 0.99, "50 % of 100 is 50, and the viewBox begins at 10"


@pytest.mark.parametrize("side", [1e-3, 0.5, 1.4, 17.2, 5000.3, 90_000])
@pytest.mark.parametrize("aspect", [1.0, 1.4, 0.8])
def test_svg_of_any_viewbox_keeps_its_shape(read, tmp_path, side, aspect):
    """A circle stays a circle, however small or large the drawing's own units are."""
    wide, high = side * aspect, side
    r = 0.4 * min(wide, high)
    body = f'<circle cx="{wide / 2}" cy="{high / 2}" r="{r}"/>'
    ink = read(svg(tmp_path, body, f'viewBox="0 0 {wide} {high}"'), size=256, frame="square, pad with paper").ink
    rows, columns = np.flatnonzero((ink > 0.5).any(axis=1)), np.flatnonzero((ink > 0.5).any(axis=0))
    diameter = 0.8 * 256 * min(aspect, 1 / aspect)
    assert len(rows) == pytest.approx(diameter, abs=2)
    assert len(columns) == pytest.approx(diameter, abs=2)


def test_svg_small_as_drawn_says_so(read, tmp_path):
    path = svg(tmp_path, '<rect width="1" height="1"/>', 'viewBox="0 0 1.4 1"')
    assert "As drawn it is 1.4 x 1 pixels: set a size to draw it larger." in read(path).notes
    assert read(svg(tmp_path, '<rect width="1" height="1"/>')).notes[1:] == ()


SHAPE = '<rect width="20" height="40"/>'
BEHIND = {
    "background:#f00": RED,
    "background-color: rgb(255, 0, 0)": RED,
    "width:40px;height:40px;background:#FF0000;": RED,
    "background: red url(paper.png) no-repeat": RED,
    "background: #ff000080": (255, 127, 127),
    "background: light-dark(#ff0000, #000)": RED,
    "background: none": WHITE,
    "background: transparent": WHITE,
    "background: blue; background-color: transparent": WHITE,
    "color: red": WHITE,
}


@pytest.mark.parametrize("style", BEHIND)
def test_svg_background_of_the_page(read, tmp_path, style):
    """draw.io, PlantUML and others write the paper's colour as a style of the whole drawing."""
    path = svg(tmp_path, "<g/>", f'width="40" height="40" style="{style}"')
    colour = read(path, kind="colour painting", invert="no").rgb[20, 20] * 255
    assert np.abs(colour - BEHIND[style]).max() < 1.1


@pytest.mark.parametrize(("head", "size"), [
    ('style="width:60px;height:40px"', (40, 60)), ('style="width:60px;height:40px" viewBox="0 0 9 6"', (6, 9)),
    ('width="30" style="width:60px;height:40px"', (40, 30)),
])  # fmt: skip
def test_svg_size_in_css_serves_where_there_is_no_other(read, tmp_path, head, size):
    assert read(svg(tmp_path, SHAPE, head)).ink.shape == size


@pytest.mark.parametrize(("body", "named"), [
    ('<style>rect:nth-child(2) {fill: red}</style>', ":nth-child"),
    ('<style>rect:not(.a) {fill: red}</style>', ":not"),
    ('<style>g {fill: red; rect {fill: blue}}</style>', "nested rules"),
    ('<style>.md\\:a {fill: red}</style>', "escapes in names"),
    ('<style>:root {--k: red} .dark {--k: blue}</style>', "--k"),
    ('<g style="clip-path: circle(30px)"/>', "clip-path"), ('<g clip-path="inset(3px)"/>', "clip-path"),
    ('<style>path {vector-effect: non-scaling-stroke}</style>', "vector-effect"),
    ('<path vector-effect="non-scaling-stroke"/>', "vector-effect"),
    ('<g style="rotate: 30deg"/>', "rotate"), ('<rect style="width: calc(100% - 9px)"/>', r"calc\(\)"),
    ('<g style="transform-box: fill-box"/>', "transform-box"),
])  # fmt: skip
def test_svg_styles_that_are_not_drawn_are_named(read, tmp_path, body, named):
    notes = "\n".join(read(svg(tmp_path, SHAPE + body)).notes)
    assert re.search(rf"not drawn here \({named}\)", notes)


@pytest.mark.parametrize("body", [
    '<style>:root {--k: red} @media (prefers-color-scheme: dark) {:root {--k: blue}}</style>',
    '<style>rect:hover {fill: red} a::before {fill: red} [href|="a"] > g {fill: red} g + g {fill: red}</style>',
    '<filter id="f"><feDisplacementMap in="SourceGraphic" scale="3"/></filter><g rotate="3"/>',
    '<g style="rotate: none; clip-path: url(#a); filter: blur(2px); transform: translate(2px)"/>',
])  # fmt: skip
def test_svg_styles_that_change_nothing_are_not_named(read, tmp_path, body):
    assert not any("not drawn" in note for note in read(svg(tmp_path, SHAPE + body)).notes)


# --- text and links are left out, with a word ------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "words"), [
    ("<text>hello</text>", "Its text is left out"),
    ("<text><tspan>hello</tspan></text>", "Its text is left out"),
    ('<g visibility="hidden"><text visibility="visible">hello</text></g>', "Its text is left out"),
    ('<foreignObject width="9" height="9"><div xmlns="http://www.w3.org/1999/xhtml">hello</div></foreignObject>',
     "Its text is left out"),
    ('<image href="photo.png" width="9" height="9"/>', "Its linked pictures are left out"),
    ('<image href="http://127.0.0.1/photo.png" width="9" height="9"/>', "Its linked pictures are left out"),
    ('<use href="other.svg#part"/>', "Parts that it takes from other files are left out"),
])  # fmt: skip
def test_svg_says_what_it_leaves_out(read, tmp_path, body, words):
    drawing = read(svg(tmp_path, SHAPE + body))
    assert drawing.ink.mean() == pytest.approx(0.5, abs=0.001)
    assert any(note.startswith(words) for note in drawing.notes)
    assert told(read, svg(tmp_path, body)).startswith(f"a.svg: nothing is left to draw. {words}")


@pytest.mark.parametrize("body", [
    '<text style="display:none">note</text>', '<g display="none"><text>note</text></g>', "<text> </text>",
    '<g style="visibility: hidden"><text>note</text></g>', "<title>hello</title><desc>hello</desc>",
    '<g display="none"><image href="photo.png" width="9" height="9"/></g>',
])  # fmt: skip
def test_svg_says_nothing_of_what_is_hidden(read, tmp_path, body):
    drawing = read(svg(tmp_path, SHAPE + body))
    assert drawing.ink.mean() == pytest.approx(0.5, abs=0.001)
    assert not any("left out" in note for note in drawing.notes)


def test_svg_pictures_in_the_drawing_are_drawn(read, tmp_path):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    data = base64.b64encode((tmp_path / "red.png").read_bytes()).decode()
    body = f'<image href="data:image/png;base64,{data}" width="40" height="40"/>'
    assert seen(read, tmp_path, body) == RED


# --- nothing outside the drawing is touched --------------------------------------------------------------------------


class _Listening(http.server.BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_) -> None:
        pass


OUTSIDE = [
    '<image href="{0}" width="40" height="40"/>',
    '<image xmlns:l="http://www.w3.org/1999/xlink" l:href="{0}" width="40" height="40"/>',
    '<image xlink:href=" {0}" width="40" height="40"/>',
    '<filter id="f"><feImage href="{0}"/></filter><rect width="40" height="40" filter="url(#f)"/>',
    '<use href="{0}#a"/>',
    '<rect width="40" height="40" fill="url({0}#a)"/>',
    '<rect width="40" height="40" style="fill:url(\'{0}#a\')"/>',
    '<style>@import url({0}); rect{{fill:url({0})}}</style><rect width="40" height="40"/>',
    '<style>@font-face{{font-family:x;src:url({0})}}</style><text font-family="x">a</text><rect width="4" height="4"/>',
    '<linearGradient id="g" href="{0}#a"/><rect width="40" height="40" fill="url(#g)"/>',
    '<foreignObject width="40" height="40"><iframe xmlns="http://www.w3.org/1999/xhtml" src="{0}"/></foreignObject>',
    '<script href="{0}"/><rect width="4" height="4"/>',
]


@pytest.fixture
def secret(tmp_path) -> Path:
    """A red picture beside the drawing, which no drawing may show."""
    Image.new("RGB", (40, 40), (255, 0, 0)).save(tmp_path / "secret.png")
    return tmp_path / "secret.png"


@pytest.mark.parametrize("body", OUTSIDE)
def test_svg_reads_nothing_beside_it(read, tmp_path, monkeypatch, secret, body):
    monkeypatch.chdir(tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Listening) as listening:
        _Listening.asked = []
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        links = ("secret.png", str(secret), secret.as_uri(), f"http://127.0.0.1:{listening.server_port}/x.png")
        for link in links:
            try:
                rgb = read(svg(tmp_path, body.format(link)), kind="colour painting").rgb
            except ValueError as error:
                assert "nothing is left to draw" in str(error)  # noqa: PT017
                continue
            assert not ((rgb[..., 0] > 0.9) & (rgb[..., 1] < 0.1)).any(), link
        listening.shutdown()
        assert _Listening.asked == []


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no such limit")
def test_the_renderer_can_open_no_file(room, secret):
    """Even if a link got past our reading of the drawing."""
    resvg = room("pictures.drawings.resvg")
    root, side = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">', 'width="40" height="40"'
    drawing = f'{root}<image href="{secret}" {side}/></svg>'
    assert resvg.render(drawing).getbbox() is None
    inside = base64.b64encode(drawing.encode()).decode()
    nested = f'{root}<image href="data:image/svg+xml;base64,{inside}" {side}/></svg>'
    assert resvg.render(nested).getbbox() is None


@pytest.mark.parametrize("declared", [
    '<!ENTITY x SYSTEM "{0}">', '<!ENTITY x PUBLIC "a" "{0}">',
])  # fmt: skip
def test_svg_external_entities_are_refused(read, tmp_path, secret, declared):
    doctype = f"<!DOCTYPE svg [{declared.format(secret)}]>"
    path = tmp_path / "a.svg"
    path.write_text(f'{doctype}<svg viewBox="0 0 9 9"><title>&x;</title>{SHAPE}</svg>')
    assert told(read, path) == (
        f"a.svg: it refers to {str(secret)!r} outside of the drawing, which is never read. "
        "Save it as plain SVG, or export it as PNG."
    )


def test_svg_external_definitions_are_not_read(read, tmp_path):
    (tmp_path / "evil.dtd").write_text('<!ENTITY ink "red">')
    path = tmp_path / "a.svg"
    path.write_text(
        f'<!DOCTYPE svg [<!ENTITY % e SYSTEM "{tmp_path / "evil.dtd"}"> %e;]><svg viewBox="0 0 40 40">'
        '<title>&ink;&nbsp;&eacute;</title><rect width="40" height="40" fill="blue"/></svg>'
    )
    assert (read(path).rgb[20, 20] * 255).round().tolist() == BLUE


# --- bombs: a sentence within seconds --------------------------------------------------------------------------------


def chain(kind: str, levels: int, fan: int) -> str:
    """Few elements that repeat each other fan ** levels times."""
    inner = {
        "use": '<g id="a{0}">' + "".join('<use href="#a{1}"/>' for _ in range(fan)) + "</g>",
        "entity": '<!ENTITY a{0} "' + "&a{1};" * fan + '">',
    }[kind]
    return "".join(inner.format(level, level - 1) for level in range(1, levels + 1))


def bombs() -> dict[str, str]:
    root, rect = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">', '<rect width="9" height="9"/>'
    entities = f'<!ENTITY a0 "MMMMMMMMMM">{chain("entity", 9, 10)}'
    long = "M" * 900_000
    return {
        "entities in text": f"<!DOCTYPE svg [{entities}]>{root}<title>&a9;</title>{rect}</svg>",
        "entities in an attribute": f'<!DOCTYPE svg [{entities}]>{root}<rect id="&a9;"/></svg>',
        "entities never used": f"<!DOCTYPE svg [{entities}]>{root}{rect}</svg>",
        "entities of one level": f'<!DOCTYPE svg [<!ENTITY a "{long}">]>{root}<title>{"&a;" * 5000}</title></svg>',
        "one level in attributes": f'<!DOCTYPE svg [<!ENTITY a "{long}">]>{root}<rect id="{"&a;" * 5000}"/></svg>',
        "an entity in itself": f'<!DOCTYPE svg [<!ENTITY a "&b;"><!ENTITY b "&a;">]>{root}<title>&a;</title></svg>',
        "use": f'{root}<rect id="a0" width="9" height="9"/>{chain("use", 12, 10)}<use href="#a12"/></svg>',
        "a chain of use": f'{root}<g id="a0"/>{chain("use", 3000, 1)}<use href="#a3000"/></svg>',
        "nesting": f"{root}{'<g>' * 1001}{'</g>' * 1001}</svg>",
        "nesting in metadata": f"{root}<metadata>{'<a>' * 100_000}{'</a>' * 100_000}</metadata></svg>",
    }  # fmt: skip


@pytest.mark.parametrize("name", bombs())
def test_svg_bombs(read, tmp_path, name):
    (tmp_path / "a.svg").write_text(bombs()[name])
    began = time.monotonic()
    assert told(read, tmp_path / "a.svg").startswith("a.svg: ")
    assert time.monotonic() - began < 5


def test_svgz_bombs(read, tmp_path):
    (tmp_path / "a.svgz").write_bytes(gzip.compress(b"<svg>" + b" " * 200_000_000, 1))
    assert told(read, tmp_path / "a.svgz") == "a.svgz: larger than 20 MB once unpacked. Export it as PNG."
    whole = gzip.compress(b'<svg viewBox="0 0 9 9"/>')
    (tmp_path / "a.svgz").write_bytes(whole[:-9])
    assert told(read, tmp_path / "a.svgz").startswith("a.svgz: cut off")
    (tmp_path / "a.svgz").write_bytes(whole[:3] + b"xxx" + whole[6:12] + b"xxxxxxxxx")
    assert told(read, tmp_path / "a.svgz").startswith("a.svgz: ")


def test_deep_groups_are_drawn(read, tmp_path):
    """The renderer recurses: at this depth it would overflow an ordinary stack and end the server."""
    body = "<g opacity='.9999'>" * 900 + '<rect width="40" height="40"/>' + "</g>" * 900
    assert read(svg(tmp_path, body)).ink.mean() > 0.9


def test_a_renderer_that_dies_ends_in_a_sentence(room, tmp_path, monkeypatch):
    """Time, memory, and the end of the process itself."""
    resvg = room("pictures.drawings.resvg")
    svg_head = '<svg xmlns="http://www.w3.org/2000/svg" width="2000" height="2000">'
    blur = "".join('<feGaussianBlur stdDeviation="90 91"/>' for _ in range(400))
    slow = f'{svg_head}<filter id="f">{blur}</filter><rect width="2000" height="2000" filter="url(#f)"/></svg>'
    with pytest.raises(ValueError, match=r"^drawing it (needs|took) more than \d+ seconds"):
        resvg.render(slow, seconds=1)
    if sys.platform.startswith("linux"):
        with pytest.raises(ValueError, match=r"cannot be drawn|MB of memory"):
            resvg.render(f"{svg_head}</svg>".replace("2000", "30000"), memory=1 << 30)
    monkeypatch.setattr(resvg, "_CHILD", tmp_path / "dies.py")
    (tmp_path / "dies.py").write_text("import os; os.abort()")
    with pytest.raises(ValueError, match="or it is nested too deeply"):
        resvg.render(f"{svg_head}</svg>")


# --- the package that draws ------------------------------------------------------------------------------------------


def test_without_the_renderer_svg_alone_is_missing(read, room, tmp_path, monkeypatch):
    """One line says how to install it; everything else is read."""
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    sentence = told(read, svg(tmp_path, SHAPE))
    assert sentence.startswith("a.svg: SVG drawings need the package resvg-py, which is not installed")
    assert f'"{sys.executable}" -m pip install resvg-py' in sentence.splitlines()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").ink.shape == (8, 8)
    (tmp_path / "a.ndjson").write_text('{"drawing": [[[0, 9], [0, 9]]]}')
    assert read(tmp_path / "a.ndjson").ink.max() == 1


def test_the_renderer_is_imported_when_an_svg_is_read(drawings):
    """Not with the pack."""
    folder = Path(drawings.__file__).parents[1]
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import drawings; assert 'resvg_py' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- damaged files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "sentence"), [
    ("<svg", "not well-formed XML (unclosed token: line 1, column 0). Save the drawing again, or export it as PNG."),
    ("<page/>", "XML, but not a drawing: its first element is <page> and not <svg>."),
    ("<svg/>", "neither a viewBox nor a width and height tell its size. Add a viewBox to the <svg> element."),
    ('<svg viewBox="0 0 0 9"/>', 'viewBox="0 0 0 9" must be four numbers, the last two above 0.'),
    ('<svg viewBox="0 0 nan inf"/>', 'viewBox="0 0 nan inf" must be four numbers, the last two above 0.'),
    ('<svg width="0" height="5"/>', "0 x 5 pixels cannot be drawn. Change the width and height of <svg>."),
    ('<svg width="1e300" height="5"/>', "1e+300 x 5 pixels cannot be drawn. Change the width and height of <svg>."),
    ('<?xml version="1.0" encoding="klingon"?><svg/>',
     "its encoding 'klingon' is not one that can be read. Save it as UTF-8."),
])  # fmt: skip
def test_svg_file_faults(read, tmp_path, text, sentence):
    (tmp_path / "a.svg").write_text(text)
    assert told(read, tmp_path / "a.svg") == f"a.svg: {sentence}"


def test_a_huge_artboard_wants_a_size(read, tmp_path):
    path = svg(tmp_path, '<rect width="9000" height="18000"/>', 'width="18000" height="18000"')
    assert told(read, path) == "The picture would be 18000 x 18000 pixels, too many. Set a size."
    assert read(path, size=64).ink.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.filterwarnings("ignore")
def test_mutated_drawings_are_read_or_told(read, golden, tmp_path):
    """100 drawings of every kind with bytes changed: only our ValueError comes out."""
    files = sorted(path for path in (golden / "drawings" / "cases").iterdir() if path.suffix != ".json")
    generator = random.Random(12)
    told_of = 0
    for turn, source in zip(range(100), itertools.cycle(files), strict=False):
        path = tmp_path / f"{turn}{source.suffix}"
        path.write_bytes(fuzz.mutated(source.read_bytes(), generator))
        try:
            drawing = read(path, size=64)
        except ValueError as error:
            told_of += 1
            assert str(error).startswith((path.name, "The picture would be"))  # noqa: PT017
        else:
            assert np.isfinite(drawing.rgb).all()
            assert np.isfinite(drawing.ink).all()
    assert 20 < told_of < 100
