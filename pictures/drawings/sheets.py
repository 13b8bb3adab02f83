"""CSS style sheets as resvg reads them: flat, for a light screen, and with selectors that it knows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from . import css

_DEEPEST = 20  # blocks in blocks
_LONGEST = 10_000  # characters of a selector that is written out
_MOST_PARTS = 200
_STILL = "hover|focus|active|visited|focus-visible|focus-within|target|before|after|selection|checked|disabled"


def sheet(text: str, known: css.Variables, missed: set[str]) -> str:
    """A style sheet with its @media and @supports blocks for screens unwrapped, and other @ rules dropped.

    missed: gets the names of what it holds that resvg does not draw."""
    text = re.sub(r"<!--|-->", " ", re.sub(r"/\*.*?(\*/|$)", " ", text, flags=re.S))
    return "".join(_rules(text, known, 0, missed))


def _rules(text: str, known: css.Variables, depth: int, missed: set[str]) -> Iterator[str]:
    at = 0
    while at < len(text) and depth < _DEEPEST:
        stop = re.compile(r"[{};]").search(text, at)
        if not stop:
            return
        prelude, at = text[at : stop.start()].strip(), stop.end()
        if stop[0] != "{":
            continue
        inside, at = _block(text, at)
        if prelude.startswith("@"):
            if for_screens(prelude):
                yield from _rules(inside, known, depth + 1, missed)
            continue
        kept = [one for part in css.split(prelude, ",") for one in selectors(part, missed)]
        if kept:
            yield f"{','.join(kept)}{{{_body(inside, known, missed)}}}"


def _body(text: str, known: css.Variables, missed: set[str]) -> str:
    """The declarations of a rule, without rules nested in it."""
    own = text
    if "{" in text:
        missed.add("nested rules")
        own = re.sub(r"[^;{}]*\{[^{}]*\}?", "", text)
    # one value of a custom property serves the whole drawing
    missed |= {name for name, value in css.variables(own).items() if known.get(name, value) != value}
    return ";".join(f"{name}:{value}" for name, value in css.declarations(own, known, missed))


def selectors(text: str, missed: set[str]) -> list[str]:
    """A selector as those that resvg reads: :is() and :where() written out, :root as svg. None of them for one that
    matches nothing in a still picture, or that it does not know (see `missed`)."""
    text = re.sub(r"(svg)?:root", "svg", text).strip()
    found = re.search(r":(is|where|matches|-webkit-any)\(([^()]*)\)", text)
    if found:
        before, after = text[: found.start()], text[found.end() :]
        parts = [part.strip() for part in found[2].split(",")]
        if len(parts) > _MOST_PARTS or len(text) > _LONGEST:
            return []
        if before[-1:] not in ("", " ", ">", "+") and any(re.match(r"[\w*]|.*[\s>+~]", part) for part in parts):
            missed.add(":is()")
            return []
        return [one for part in parts for one in selectors(before + part + after, missed)][:_MOST_PARTS]
    if not text or re.search(rf":(?:{_STILL})\b|::", text):
        return []
    unknown = re.search(r":(?!first-child)[\w-]+|[\\~&|]", re.sub(r"\[[^]]*\]", "", text))
    if unknown:
        missed.add({"\\": "escapes in names"}.get(unknown[0], unknown[0]))
        return []
    return [text]


def _block(text: str, start: int) -> tuple[str, int]:
    """What stands before the brace that closes the one before `start`, and where it goes on."""
    depth = 1
    for brace in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[start : brace.start()], brace.end()
    return text[start:], len(text)


def for_screens(rule: str) -> bool:
    """Whether an @ rule's block applies to a light screen of no particular size."""
    name, _, query = rule.lower().partition(" ")
    if name in ("@supports", "@layer"):
        return True
    if name != "@media":
        return False
    for one in query.split(","):
        tests = re.findall(r"\(([^()]*)\)", one)
        kind = re.sub(r"\([^()]*\)|\band\b|\bonly\b", " ", one).split()
        fits = all(re.sub(r"\s", "", test) == "prefers-color-scheme:light" for test in tests)
        if fits and kind in ([], ["all"], ["screen"], ["not", "print"]) and (kind or tests):
            return True
    return False
