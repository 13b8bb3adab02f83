"""CSS as drawing programs write it today, rewritten into what resvg reads.

resvg knows SVG 1.1's colours and style sheets. Exports of Figma, draw.io, Inkscape or a web page also hold
light-dark(), var(), color(display-p3 ...), space-separated rgb() and hsl(), and lengths in transforms.
A declaration that cannot be rewritten is dropped, as a browser drops one it cannot read: the one before it applies.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
from PIL import ImageColor

Variables = Mapping[str, str]

COLOURED = ("fill", "stroke", "color", "stop-color", "flood-color", "lighting-color")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_FUNCTION = re.compile(r"(?<![\w-])(rgba?|hsla?|hwb|lab|lch|oklab|oklch|color|color-mix|light-dark|var)\(", re.I)
_ANGLES = {"": 1.0, "deg": 1.0, "rad": 180 / math.pi, "grad": 0.9, "turn": 360.0}
_PX = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0, "q": 24 / 25.4}
_DEEPEST = 20  # functions in functions, blocks in blocks
_LONGEST = 10_000  # characters of a value with functions in it
_P3_TO_SRGB = np.array([[1.2249, -0.2249, 0], [-0.0420, 1.0420, 0], [-0.0197, -0.0786, 1.0979]])
# CSS Color 4, section 9: OKLab to LMS, LMS to linear sRGB; D50 XYZ (of CIE Lab) to linear sRGB.
_OKLAB_TO_LMS = np.array([[1, 0.39633778, 0.21580376], [1, -0.10556135, -0.06385417], [1, -0.08948418, -1.29148555]])
_LMS_TO_SRGB = np.array(
    [[4.0767417, -3.3077116, 0.230970], [-1.268438, 2.6097574, -0.341319], [-0.004196, -0.703419, 1.707615]]
)
_XYZ50_TO_SRGB = np.array([[3.1341, -1.6174, -0.4907], [-0.9788, 1.9163, 0.0334], [0.0719, -0.2290, 1.4054]])


def length(text: str) -> float | None:
    """A length in pixels (96 per inch); None for a percentage, `auto` or what cannot be read."""
    found = re.fullmatch(rf"\s*({_NUMBER})\s*(px|pt|pc|mm|cm|in|q|em|rem|ex|)\s*", text, re.I)
    if not found:
        return None
    unit = found[2].lower()
    return float(found[1]) * {"em": 16.0, "rem": 16.0, "ex": 8.0}.get(unit, _PX.get(unit, 1.0))


def variables(text: str) -> dict[str, str]:
    """The custom properties (--name: value) of a whole document. The first definition counts: dark schemes follow."""
    found: dict[str, str] = {}
    for name, value in re.findall(r"(?<![\w-])(--[\w-]{1,60})\s*:\s*([^;{}\"<>]{1,500})", text):
        found.setdefault(name, value.strip())
    return found


def declarations(text: str, known: Variables, missed: set[str] | None = None) -> list[tuple[str, str]]:
    """name and value of each declaration in `text` that resvg can read, in order. missed: gets the names of those that
    it does not draw and a browser does."""
    found = []
    for rule in split(re.sub(r"/\*.*?(\*/|$)", " ", text, flags=re.S), ";"):
        name, colon, written = rule.partition(":")
        name = name.strip().lower()
        if not colon or not re.fullmatch(r"[a-z][a-z-]*", name):
            continue
        important = re.search(r"!\s*important\s*$", written, re.I)
        written = written[: important.start()] if important else written
        strange = not_drawn(name, written)
        if strange is not None and missed is not None:
            missed.add(strange)
        read = None if strange else value(name, written, known)
        if read is not None:
            found.append((name, read + (" !important" if important else "")))
    return found


_NOT_DRAWN = {  # values that a browser obeys and resvg does not know
    "clip-path": r"(circle|ellipse|inset|polygon|path|rect|xywh|shape)\(",
    "vector-effect": r"non-scaling-(stroke|size)|non-rotation|fixed-position",
    "transform-box": r"(fill|stroke|content|border)-box",
    "mask-image": r"(linear|radial|conic)-gradient\(|url\(",
    **dict.fromkeys(("rotate", "translate", "scale"), r"(?!none|inherit)."),
    "offset-path": r"(?!none).",
}


_ATTRIBUTES = ("clip-path", "vector-effect", "transform-box")  # others mean something else as attributes of SVG


def not_drawn(name: str, text: str, attribute: bool = False) -> str | None:
    """What of a declaration is no part of what resvg draws, by name; None if it can be drawn."""
    if re.search(r"(?<![\w-])(calc|min|max|clamp)\(", text) and not name.startswith("-"):
        return "calc()"
    pattern = _NOT_DRAWN.get(name) if not attribute or name in _ATTRIBUTES else None
    return name if pattern and re.match(pattern, text.strip(), re.I) else None


def value(name: str, text: str, known: Variables) -> str | None:
    """The value of one property, or None if it cannot be read."""
    if "(" in text:
        read = _functions(text, known, 0)
        if read is None:
            return None
        text = re.sub(r"url\(\s*['\"]?\s*#([^'\")]*)['\"]?\s*\)", r"url(#\1)", read)
        # What lies outside the drawing is never fetched: the colour written behind it counts, or no paint.
        text = re.sub(r"url\((?!#)[^)]*\)", "", text)
        text = text.strip() or ("none" if name in ("fill", "stroke", "filter", "mask", "clip-path") else "")
    text = text.strip()
    if name == "transform":
        return transform(text)
    if name in COLOURED:
        return _paint(name, text)
    return text or None


def _paint(name: str, text: str) -> str | None:
    """A colour or paint, or None for a word or number that is none."""
    word = re.sub(r"^url\(#[^)]*\)\s*", "", text.lower())
    if word == "currentcolor":
        return "currentColor"
    if word == "initial":
        return "none" if name == "stroke" else "black"
    if word in ("unset", "revert", "revert-layer"):
        return "inherit" if name in ("fill", "stroke", "color") else "black"
    known = (
        word in ("", "none", "inherit", "transparent", "context-fill", "context-stroke") or word in ImageColor.colormap
    )
    known = known or bool(re.fullmatch(r"#([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})|rgba?\([\d.,]+\)", word))
    return text if known and text else None


def transform(text: str) -> str | None:
    """A CSS transform as SVG's attribute writes it: without units, in degrees. None for one in three dimensions."""
    parts = []
    if len(text) > _LONGEST:
        return None
    for function, inside in re.findall(r"([\w-]+)\s*\(([^()]*)\)", text):
        n = [_amount(part) for part in re.split(r"[\s,]+", inside.strip()) if part]
        if not n or None in n:
            return None
        match function.lower(), len(n):
            case ("translate" | "scale", 1 | 2) | ("rotate", 1 | 3) | ("skewx" | "skewy", 1) | ("matrix", 6):
                name = {"skewx": "skewX", "skewy": "skewY"}.get(function.lower(), function.lower())
            case "translatex", 1:
                name, n = "translate", [n[0], 0.0]
            case "translatey", 1:
                name, n = "translate", [0.0, n[0]]
            case "scalex", 1:
                name, n = "scale", [n[0], 1.0]
            case "scaley", 1:
                name, n = "scale", [1.0, n[0]]
            case "rotatez", 1:
                name = "rotate"
            case _:
                return None
        parts.append(f"{name}({' '.join(f'{x:.9g}' for x in n)})")
    return " ".join(parts) or None


def _amount(text: str) -> float | None:
    """A number, a length in pixels or an angle in degrees."""
    found = re.fullmatch(rf"({_NUMBER})([a-z]*)", text, re.I)
    if not found:
        return None
    factor = {**_PX, **_ANGLES}.get(found[2].lower())
    return None if factor is None else float(found[1]) * factor


def split(text: str, separator: str) -> list[str]:
    """Parts between separators that stand in no bracket and in no quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for at, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign == "(":
            depth += 1
        elif sign == ")":
            depth = max(0, depth - 1)
        elif sign == separator and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _functions(text: str, known: Variables, depth: int) -> str | None:
    """Every colour function, light-dark() and var() in a value replaced. None if one of them cannot be."""
    if depth > _DEEPEST or len(text) > _LONGEST:
        return None
    done, at = "", 0
    while found := _FUNCTION.search(text, at):
        open_brackets, end = 1, found.end()
        while end < len(text) and open_brackets:
            open_brackets += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        if open_brackets:
            return None
        replaced = _function(found[1].lower(), text[found.end() : end - 1], known, depth + 1)
        if replaced is None:
            return None
        done, at = done + text[at : found.start()] + replaced, end
    return done + text[at:]


def _function(name: str, inside: str, known: Variables, depth: int) -> str | None:
    if name == "var":
        own, _, fallback = inside.partition(",")
        chosen = known.get(own.strip(), fallback.strip())
        return _functions(chosen, known, depth) if chosen else None
    if name == "light-dark":
        return _functions(split(inside, ",")[0].strip(), known, depth)
    if name == "color-mix":
        return _mixed(inside, known, depth)
    plain = _functions(inside, known, depth)
    return None if plain is None else _colour(name, plain)


def _mixed(inside: str, known: Variables, depth: int) -> str | None:
    """color-mix(in <space>, colour [share], colour [share]), mixed in sRGB whatever the space."""
    space, *parts = split(inside, ",")
    if len(parts) != 2 or not space.strip().lower().startswith("in "):
        return None
    colours, shares = [], []
    for part in parts:
        found = re.fullmatch(rf"\s*(.*?)(?:\s+({_NUMBER})%)?\s*", part, re.S)
        plain = _functions(found[1], known, depth) if found else None
        colour = None if plain is None else rgba(plain)
        if found is None or colour is None:
            return None
        colours.append(np.array(colour) / 255)
        shares.append(None if found[2] is None else float(found[2]) / 100)
    first = shares[0] if shares[0] is not None else 0.5 if shares[1] is None else 1 - shares[1]
    second = shares[1] if shares[1] is not None else 1 - first
    if not (min(first, second) >= 0 and 0 < first + second < 1e6):
        return None
    share = first / (first + second)
    alpha = float(share * colours[0][3] + (1 - share) * colours[1][3])
    mixed = (share * colours[0][3] * colours[0][:3] + (1 - share) * colours[1][3] * colours[1][:3]) / max(alpha, 1e-6)
    return _written(mixed, alpha * min(1.0, first + second))


def rgba(text: str) -> tuple[int, int, int, int] | None:
    """A plain colour (a name, #rgb to #rrggbbaa, rgb() or rgba() with commas) in 0..255; None for anything else."""
    text = text.strip().lower()
    found = re.fullmatch(rf"rgba?\((\d+),(\d+),(\d+)(?:,({_NUMBER}))?\)", text.replace(" ", ""))
    if found:
        red, green, blue = (min(int(found[i]), 255) for i in (1, 2, 3))
        return red, green, blue, round(255 * min(1.0, max(0.0, float(found[4] or 1))))
    if text == "transparent":
        return 0, 0, 0, 0
    try:
        red, green, blue, alpha = ImageColor.getcolor(text, "RGBA")  # pyright: ignore[reportGeneralTypeIssues]
    except (ValueError, TypeError):
        return None
    return red, green, blue, alpha


def background(text: str, known: Variables) -> tuple[int, int, int, int] | None:
    """The colour that a style attribute lays behind the whole drawing, in 0..255; None for no colour."""
    found = None
    for name, read in declarations(text, known):
        if name in ("background", "background-color"):
            whole = re.sub(r"\s*!important$", "", read)
            colours = [colour for colour in map(rgba, [whole, *whole.split()]) if colour is not None]
            found = colours[0] if colours else found
    return found if found is not None and found[3] else None


def _colour(name: str, inside: str) -> str | None:
    """A colour function as rgb() or rgba() with commas, clipped to sRGB."""
    space = ""
    if name == "color":
        space, _, inside = inside.strip().lower().partition(" ")
    parts = [part for part in re.split(r"[\s,/]+", inside.strip().lower()) if part]
    if len(parts) not in (3, 4):
        return None
    alpha = _part(parts[3], 1.0) if len(parts) == 4 else 1.0
    rgb = _rgb(name.removesuffix("a") if name in ("rgba", "hsla") else name, space, parts[:3])
    if rgb is None or alpha is None or not np.isfinite([*rgb, alpha]).all():
        return None
    return _written(rgb, alpha)


def _written(rgb: np.ndarray, alpha: float) -> str:
    red, green, blue = (np.clip(rgb, 0, 1) * 255).round().astype(int)
    return f"rgb({red},{green},{blue})" if alpha >= 1 else f"rgba({red},{green},{blue},{max(alpha, 0.0):.4f})"


def _part(text: str, whole: float, plain: float = 1.0) -> float | None:
    """A component: a percentage of `whole`, a number times `plain`, or 0 for "none"."""
    if text == "none":
        return 0.0
    found = re.fullmatch(rf"({_NUMBER})(%?)", text)
    return None if not found else float(found[1]) * (whole / 100 if found[2] else plain)


def _hue(text: str) -> float | None:
    found = re.fullmatch(rf"({_NUMBER})(deg|rad|grad|turn|)", text)
    return 0.0 if text == "none" else None if not found else float(found[1]) * _ANGLES[found[2]] % 360


def _rgb(name: str, space: str, parts: list[str]) -> np.ndarray | None:
    """Red, green and blue in sRGB, 0..1 where it can show the colour."""
    first, second, third = parts
    if name in ("hsl", "hwb"):
        read = [_hue(first), _part(second, 1.0, 0.01), _part(third, 1.0, 0.01)]
    elif name in ("lab", "oklab"):
        full, reach = (100.0, 125.0) if name == "lab" else (1.0, 0.4)
        read = [_part(first, full), _part(second, reach), _part(third, reach)]
    elif name in ("lch", "oklch"):
        full, reach = (100.0, 150.0) if name == "lch" else (1.0, 0.4)
        read = [_part(first, full), _part(second, reach), _hue(third)]
    else:
        read = [_part(part, 1.0, 1 / 255 if name == "rgb" else 1.0) for part in parts]
    if None in read:
        return None
    a, b, c = (float(part) for part in read if part is not None)
    if name in ("lch", "oklch"):
        name, b, c = name.replace("ch", "ab"), b * math.cos(math.radians(c)), b * math.sin(math.radians(c))
    match name, space:
        case ("rgb", _) | ("color", "srgb"):
            return np.array([a, b, c])
        case "color", "srgb-linear":
            return _encoded(np.array([a, b, c]))
        case "color", "display-p3":
            return _encoded(_P3_TO_SRGB @ _linear(np.array([a, b, c])))
        case "hsl", _:
            steps = (np.array([0.0, 8.0, 4.0]) + a / 30) % 12
            return c - b * min(c, 1 - c) * np.clip(np.minimum(steps - 3, 9 - steps), -1, 1)
        case "hwb", _:
            if b + c >= 1:
                return np.full(3, b / (b + c))
            steps = (np.array([0.0, 8.0, 4.0]) + a / 30) % 12
            return (0.5 - 0.5 * np.clip(np.minimum(steps - 3, 9 - steps), -1, 1)) * (1 - b - c) + b
        case "oklab", _:
            return _encoded(_LMS_TO_SRGB @ (_OKLAB_TO_LMS @ np.array([a, b, c])) ** 3)
        case "lab", _:
            middle = (a + 16) / 116
            f = np.array([middle + b / 500, middle, middle - c / 200])
            xyz = np.where(f > 6 / 29, f**3, (116 * f - 16) / (24389 / 27)) * (0.9643, 1.0, 0.8251)
            return _encoded(_XYZ50_TO_SRGB @ xyz)
    return None


def _linear(rgb: np.ndarray) -> np.ndarray:
    """Light of sRGB values."""
    size = np.abs(rgb)
    return np.sign(rgb) * np.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4)


def _encoded(light: np.ndarray) -> np.ndarray:
    size = np.abs(light)
    return np.sign(light) * np.where(size <= 0.0031308, size * 12.92, 1.055 * size ** (1 / 2.4) - 0.055)
