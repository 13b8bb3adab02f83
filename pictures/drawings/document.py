"""SVG documents read without trust: XML of any size, depth and origin in, a small clean SVG out.

What comes out refers to nothing outside itself: no DOCTYPE, no entities, no scripts, no links to files or to the
network, no elements of other programs, and CSS only as resvg reads it. What had to be left out is told by name.
"""

from __future__ import annotations

import codecs
import html.entities
import re
import zlib
from collections import Counter
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from . import css, sheets

LARGEST_FILE = 20_000_000  # bytes, unpacked
_LARGEST_TEXT = 60_000_000  # characters, entities expanded
_LARGEST_ENTITY = 1_000_000  # characters, expanded
_DEEPEST = 1000
_DEEPEST_USE = 100
_MOST_ELEMENTS = 1_000_000  # with every <use> counted as what it repeats

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_SKIPPED = ("title", "desc", "metadata", "script", "text", "foreignObject")
_PLACED = {  # properties of SVG 2 that resvg reads as attributes only
    "rect": ("x", "y", "width", "height", "rx", "ry"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "image": ("x", "y", "width", "height"),
    "svg": ("x", "y", "width", "height"),
}
TEXT, PICTURE, PART = "text", "linked pictures", "links to parts of other files"


class Document(NamedTuple):
    """root: attributes of the outermost <svg>. body: all in it, as clean SVG. left_out: of TEXT, PICTURE, PART.
    missed: names of styles that resvg does not draw. background: the colour behind it, RGBA in 0..255, or None."""

    root: dict[str, str]
    body: str
    left_out: tuple[str, ...]
    missed: tuple[str, ...] = ()
    background: tuple[int, int, int, int] | None = None


def read_document(data: bytes) -> Document:
    """The drawing in an SVG file's content, also if it is compressed (.svgz). ValueError says what is wrong with it."""
    text = _decode(_unpack(data))
    reader = _Reader(text)
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.characters
    parser.EntityDeclHandler, parser.EndDoctypeDeclHandler = reader.declare, reader.check_entities
    parser.ExternalEntityRefHandler = reader.refuse_outside
    parser.SkippedEntityHandler = reader.skipped
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise ValueError(f"not well-formed XML ({error}). Save the drawing again, or export it as PNG.") from error
    reader.check_repeats()
    left_out, missed = (tuple(sorted(names)) for names in (reader.left_out, reader.missed))
    return Document(reader.root, "".join(reader.pieces), left_out, missed, reader.background)


def _unpack(data: bytes) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    unpacker = zlib.decompressobj(wbits=31)
    try:
        whole = unpacker.decompress(data, LARGEST_FILE + 1)
    except zlib.error as error:
        raise ValueError(f"damaged: it cannot be unpacked ({error}). Save or copy it again.") from error
    if len(whole) > LARGEST_FILE:
        raise ValueError(f"larger than {LARGEST_FILE // 1_000_000} MB once unpacked. Export it as PNG.")
    if not unpacker.eof:
        raise ValueError("cut off: its compressed data ends too early. Save or copy it again.")
    return whole


def _decode(data: bytes) -> str:
    """The text, by its byte order mark, its XML declaration, or as UTF-8; without the declaration."""
    marks = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"))
    marks += ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
    encoding = next((name for mark, name in marks if data.startswith(mark)), "")
    if not encoding and data[:4] in (b"<\0?\0", b"<\0s\0", b"<\0!\0"):
        encoding = "utf-16-le"
    if not encoding and data[:4] in (b"\0<\0?", b"\0<\0s", b"\0<\0!"):
        encoding = "utf-16-be"
    if not encoding:
        declared = re.match(rb"\s*<\?xml[^>]*?encoding\s*=\s*['\"]([\w.:-]+)['\"]", data[:300])
        encoding = declared[1].decode("ascii") if declared else "utf-8"
    try:
        text = data.decode(encoding, "replace")
    except (LookupError, UnicodeError, ValueError) as error:
        raise ValueError(f"its encoding {encoding!r} is not one that can be read. Save it as UTF-8.") from error
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text.removeprefix("\ufeff")).lstrip()


class _Open(NamedTuple):
    """An element whose end has not come yet. emitted: its name in what comes out, or "" for nothing. hidden: the
    property that hides what is in it, or "". known: the custom properties of CSS in it."""

    emitted: str
    spaces: dict[str, str]
    hidden: str
    known: css.Variables


class _Reader:
    """expat's handlers: checks and rewrites a document while it is parsed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.known = css.variables(text)
        self.root: dict[str, str] = {}
        self.pieces: list[str] = []
        self.left_out: set[str] = set()
        self.missed: set[str] = set()
        self.background: tuple[int, int, int, int] | None = None
        self.stack: list[_Open] = []
        self.skipping = 0  # depth inside an element of which nothing comes out
        self.listens = ""  # what characters inside it mean: TEXT, or nothing
        self.sheet: list[str] | None = None  # the style sheet being read
        self.characters_read = 0
        self.entities: dict[str, str] = {}
        self.elements = 0
        self.ids: list[tuple[str, int]] = []  # of the open elements, and which element in the file each is
        self.sizes: dict[str, int] = {}  # how many elements each id holds, itself included
        self.repeats: dict[str, list[str]] = {}  # what the <use> elements inside each id refer to; "": of the whole
        self.tracked = 0  # entries of `repeats`

    # --- entities ----------------------------------------------------------------------------------------------------

    def declare(self, name, is_parameter, value, base, system, public, notation) -> None:
        if not is_parameter and value is not None:  # expat expands no parameter entities
            self.entities.setdefault(name, value)

    def check_entities(self) -> None:
        """Refuses entities that expand to far more than was written, before any of them is expanded."""
        sizes: dict[str, int] = {}
        for name in self.entities:
            self._entity_size(name, sizes, ())
        used = Counter(re.findall(r"&([^#;&\s][^;&\s]{0,200});", self.text))
        self._count(sum(times * sizes.get(name, 0) for name, times in used.items()))

    def _entity_size(self, name: str, sizes: dict[str, int], above: tuple[str, ...]) -> int:
        if name in above or len(above) > 50:
            raise ValueError(f"its entity &{name}; holds itself, or entities nested more than 50 deep. {_PLAIN}")
        if name not in sizes:
            value = self.entities[name]
            inner = [part for part in re.findall(r"&([^#;&\s][^;&\s]*);", value) if part in self.entities]
            size = len(value) + sum(self._entity_size(part, sizes, (*above, name)) for part in inner)
            if size > _LARGEST_ENTITY:
                raise ValueError(
                    f"its entity &{name}; expands to more than {_LARGEST_ENTITY // 1_000_000} million characters: "
                    f"refused. {_PLAIN}"
                )
            sizes[name] = size
        return sizes[name]

    def refuse_outside(self, context, base, system, public) -> int:
        raise ValueError(f"it refers to {system!r} outside of the drawing, which is never read. {_PLAIN}")

    def skipped(self, name: str, is_parameter: bool) -> None:
        """An entity of a DTD that is not read: HTML's names stand for their character, others for nothing."""
        if not is_parameter:
            self.characters(html.entities.entitydefs.get(name, ""))

    # --- elements ----------------------------------------------------------------------------------------------------

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        self._count(len(tag) + sum(len(key) + len(value) for key, value in attributes.items()))
        if len(self.stack) + self.skipping >= _DEEPEST:
            raise ValueError(f"groups are nested deeper than {_DEEPEST}. Ungroup them, or export it as PNG.")
        if self.elements > _MOST_ELEMENTS:
            raise ValueError(_TOO_MANY)
        if self.skipping:
            self.skipping += 1
            return
        above = self.stack[-1].spaces if self.stack else {"xlink": _XLINK, "svg": _SVG}
        own = {key[6:]: value for key, value in attributes.items() if key.startswith("xmlns:")}
        spaces = {**above, **own, **({"": attributes["xmlns"]} if "xmlns" in attributes else {})}
        prefix, _, name = tag.rpartition(":")
        space = spaces.get(prefix, "" if prefix == "" else "?")
        if not self.stack:
            self._start_root(name, space, tag, attributes, spaces)
            return
        hidden = _hidden(self.stack[-1].hidden, attributes)
        if space not in ("", _SVG) or name in _SKIPPED:
            self._skip(name, space, hidden, attributes)
            return
        known = _own_variables(self.stack[-1].known, attributes)
        clean = self._attributes(name, attributes, spaces, hidden, known)
        if clean is None:
            self.skipping = 1
            return
        if name == "style":
            css_here = clean.get("type", "text/css") in ("", "text/css")
            self.sheet = [] if css_here and sheets.for_screens(f"@media {clean.get('media', 'all')}") else None
            self.skipping = 1
            return
        self._open(name, clean, _Open(name, spaces, hidden, known))

    def _start_root(self, name: str, space: str, tag: str, attributes: dict[str, str], spaces: dict[str, str]) -> None:
        if name != "svg" or space not in ("", _SVG):
            raise ValueError(f"XML, but not a drawing: its first element is <{tag[:60]}> and not <svg>.")
        known = _own_variables(self.known, attributes)
        self.root = self._attributes("svg", attributes, spaces, "", known) or {}
        styles = attributes.get("style", "")
        self.background = css.background(styles, known)
        if "viewBox" not in self.root:  # else browsers go by that, whatever the style says
            for side, size in css.declarations(styles, known):
                if side in ("width", "height") and css.length(size):
                    self.root.setdefault(side, size)
        self.stack.append(_Open("", spaces, _hidden("", attributes), known))
        self.ids.append((self.root.get("id", ""), self.elements))

    def _skip(self, name: str, space: str, hidden: str, attributes: dict[str, str]) -> None:
        """Begins an element of which nothing is drawn. A foreignObject stays as an empty choice of its <switch>."""
        self.skipping = 1
        self.listens = TEXT if space in ("", _SVG) and name in ("text", "foreignObject") and not hidden else ""
        if name == "foreignObject" and space in ("", _SVG):
            asks = {key: value for key, value in attributes.items() if key.startswith("required")}
            self.pieces.append(opened("foreignObject", asks) + "/>")

    def _open(self, name: str, clean: dict[str, str], opening: _Open) -> None:
        self.stack.append(opening)
        self.ids.append((clean.get("id", ""), self.elements))
        if name == "use" and "href" in clean:
            for around in {"", *(one for one, _ in self.ids)}:
                self.repeats.setdefault(around, []).append(clean["href"][1:])
                self.tracked += 1
            if self.tracked > _MOST_ELEMENTS:
                raise ValueError(_TOO_MANY)
        self.pieces.append(opened(name, clean) + ">")

    def end(self, tag: str) -> None:
        if self.skipping:
            self.skipping -= 1
            if not self.skipping:
                self.listens = ""
                if self.sheet is not None:
                    self.pieces.append(
                        f"<style>{escape(sheets.sheet(''.join(self.sheet), self.known, self.missed))}</style>"
                    )
                    self.sheet = None
            return
        done = self.stack.pop()
        name, first = self.ids.pop()
        if name:
            self.sizes.setdefault(name, self.elements - first + 1)
        if done.emitted:
            self.pieces.append(f"</{done.emitted}>")

    def characters(self, text: str) -> None:
        self._count(len(text))
        if self.sheet is not None and self.skipping == 1:
            self.sheet.append(text)
        elif self.listens == TEXT and text.strip():
            self.left_out.add(TEXT)

    def _count(self, more: int) -> None:
        self.characters_read += more
        if self.characters_read > _LARGEST_TEXT:
            raise ValueError(
                f"it is longer than {_LARGEST_TEXT // 1_000_000} million characters once its entities are expanded: "
                f"refused. {_PLAIN}"
            )

    def _attributes(
        self, tag: str, attributes: dict[str, str], spaces: dict[str, str], hidden: str, known: css.Variables
    ) -> dict[str, str] | None:
        """What is kept of an element's attributes; None if the element draws nothing without what it links to."""
        clean: dict[str, str] = {}
        link = ""
        for key, written in attributes.items():
            prefix, _, name = key.rpartition(":")
            if name == "href" and (not prefix or spaces.get(prefix) == _XLINK):
                link = written.strip() if not prefix or not link else link
            elif prefix == "xml" and name == "space":
                clean[key] = written
            elif prefix or name.startswith("on") or name in ("xmlns", "style"):
                continue
            else:
                if strange := css.not_drawn(name, written, attribute=True):
                    self.missed.add(strange)
                plain = name not in css.COLOURED and ("(" not in written or name == "transform")
                kept = written.strip() if plain else css.value(name, written, known)
                if kept is not None:
                    clean[name] = kept
        rules = []
        for name, value in css.declarations(attributes.get("style", ""), known, self.missed):
            size = css.length(value)
            if name == "d" and tag == "path":
                shape = re.fullmatch(r"path\(\s*(['\"])([^'\"]*)\1\s*\)", value)
                clean["d"] = shape[2] if shape else clean.get("d", "")
            elif name in _PLACED.get(tag, ()):
                if size is not None and (tag != "svg" or self.stack):
                    clean[name] = f"{size:.9g}"
            else:
                rules.append(f"{name}:{value}")
        if rules:
            clean["style"] = ";".join(rules)
        return clean if self._links(tag, link, clean, hidden) else None

    def _links(self, tag: str, link: str, clean: dict[str, str], hidden: str) -> bool:
        """Keeps a link inside the drawing, or to data written in it. False: nothing of the element is left."""
        if tag in ("a", "script") or not link:
            return True
        if link.startswith("#") or (tag in ("image", "feImage") and link[:5].lower() == "data:"):
            clean["href"] = link
            return True
        if tag in ("image", "feImage", "use"):
            self.left_out |= set() if hidden else {PART if tag == "use" else PICTURE}
            return False
        return True

    # --- repetition --------------------------------------------------------------------------------------------------

    def check_repeats(self) -> None:
        """Refuses a drawing in which a few <use> elements repeat each other to millions of elements."""
        totals: dict[str, int] = {}

        def total(name: str, above: frozenset[str]) -> int:
            if len(above) > _DEEPEST_USE:
                raise ValueError(f"its <use> elements refer to each other in a chain of more than {_DEEPEST_USE}.")
            if name in above or name not in self.sizes:
                return 0
            if name not in totals:
                inside = self.repeats.get(name, [])
                totals[name] = self.sizes[name] + sum(total(one, above | {name}) for one in inside)
            return totals[name]

        if self.elements + sum(total(name, frozenset()) for name in self.repeats.get("", [])) > _MOST_ELEMENTS:
            raise ValueError(_TOO_MANY)


def _own_variables(above: css.Variables, attributes: dict[str, str]) -> css.Variables:
    """The custom properties in an element: its own count before those around it."""
    style = attributes.get("style", "")
    return {**above, **css.variables(style)} if "--" in style else above


_PLAIN = "Save it as plain SVG, or export it as PNG."
_TOO_MANY = f"it has more than {_MOST_ELEMENTS:,} elements, repeated ones (<use>) included. Export it as PNG."


def opened(name: str, attributes: dict[str, str]) -> str:
    return f"<{name}" + "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())


def _hidden(above: str, attributes: dict[str, str]) -> str:
    """What hides an element: "display" for good, "visibility" until an element in it is visible again, or ""."""
    written = ";".join(f"{key}:{attributes.get(key, '')}" for key in ("display", "visibility"))
    rules = re.sub(r"\s", "", f"{written};{attributes.get('style', '')}")
    if above == "display" or re.search(r"(^|;)display:none", rules):
        return "display"
    said = re.findall(r"(?:^|;)visibility:(hidden|collapse|visible)", rules)
    return above if not said else "" if said[-1] == "visible" else "visibility"
