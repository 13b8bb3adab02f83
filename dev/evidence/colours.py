"""Colours that may be several things, a part of `python3 dev/run.py evidence`: white, which snow, a cloud and moonlit
sand have, and blue, which a lake, the sky and snow in the shade have. All of a painting's land, or all of it, is the
hour's white or blue; nothing but words tied to regions says what is where.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from evidence.gradop import FIRST, SIDE, STEPS
from evidence.page import Page, Store
from evidence.regions import DECIDES, HORIZON, ROUNDS, SCHEDULE, STRENGTH, WEIGHT, Colours, judged

SEEDS = 4
NAMES = {  # what the segmenter may call a region of these words
    "a snowfield": ("snow",),
    "snowy mountains": ("mountain", "snow"),
    "sand dunes": ("sand",),
    "heavy clouds": ("cloud",),
    "a lake": ("water",),
    "a clear sky": ("sky",),
}
PAINT = {"white": "snow", "blue": "water"}  # whose mean colour at that hour is painted


class Ambiguous(NamedTuple):
    """Two regions of one colour. where: "beside" or "behind" one another on the land, "above" the horizon beside one
    another, or sky over land ("whole")."""

    colour: str
    where: str
    first: str
    second: str
    hour: str
    round: int = 0

    @property
    def prompt(self) -> str:
        rest = {"above": ["a snowfield"], "whole": []}.get(self.where, ["a clear sky"])
        said = [self.first, self.second]
        return ", ".join([*(said + rest if self.where == "above" else rest + said), self.hour])

    def masks(self) -> list[Any]:
        """Where the first and the second region are, [SIDE,SIDE] of 0 and 1."""
        import torch

        at = (torch.arange(SIDE) + 0.5) / SIDE
        x, y = at[None, :].expand(SIDE, SIDE), at[:, None].expand(SIDE, SIDE)
        land, left = y > HORIZON, x < 0.5
        if self.where == "whole":
            return [(~land).float(), land.float()]
        if self.where == "above":
            return [(~land & left).float(), (~land & ~left).float()]
        first = left if self.where == "beside" else y < (1 + HORIZON) / 2
        return [(land & first).float(), (land & ~first).float()]

    def painting(self, colours: Colours) -> Any:
        """[SIDE,SIDE,3]: the hour's white or blue in both regions; sky over land, the hour's sky; below the sky, the
        hour's snow."""
        import torch

        here = torch.stack(self.masks()).sum(0)[..., None]
        around = colours.mean("snow" if self.where == "above" else "sky", self.hour)
        return here * colours.mean(PAINT[self.colour], self.hour) + (1 - here) * around


def cases(count: int) -> list[Ambiguous]:
    """Every order of the two words, but sky over land only as it is in the world; each with SEEDS seeds. At most
    `count` of them, spread out."""
    listed = [
        *(("white", where, "a snowfield", "sand dunes", "at night") for where in ("beside", "behind")),
        ("white", "above", "heavy clouds", "snowy mountains", "by day"),
        *(
            ("blue", where, "a lake", "a snowfield", hour)
            for where in ("beside", "behind")
            for hour in ("at dawn", "at night")
        ),
        ("blue", "above", "heavy clouds", "a clear sky", "by day"),
    ]
    listed += [(colour, where, second, first, hour) for colour, where, first, second, hour in listed]
    listed += [
        ("white", "whole", "heavy clouds", "a snowfield", "by day"),
        ("white", "whole", "heavy clouds", "sand dunes", "at night"),
        ("blue", "whole", "a clear sky", "a lake", "by day"),
        ("blue", "whole", "a clear sky", "a snowfield", "at dawn"),
    ]
    every = [Ambiguous(*row, i) for row in listed for i in range(SEEDS)]
    count = min(count, len(every))
    return [every[i * len(every) // count] for i in range(count)]


def colours(page: Page, count: int, fresh: bool) -> None:
    """The table: label accuracy inside regions of an ambiguous colour, without and with their words tied to them."""
    import torch

    files = (*DECIDES, "dev/evidence/colours.py")
    store = Store("evidence_colours", (count, STEPS, ROUNDS, STRENGTH, WEIGHT, SCHEDULE, 1), files)
    if fresh:
        store.forget()
    listed = cases(count)
    found = judged(store, listed, NAMES, FIRST + 40_000)
    scores = found.scores
    kinds = {case._replace(round=0): i for i, case in reversed(list(enumerate(listed)))}
    groups = {
        "all": [True] * len(listed),
        "white": [case.colour == "white" for case in listed],
        "blue": [case.colour == "blue" for case in listed],
        "both on land": [case.where in ("beside", "behind") for case in listed],
        "both in the sky": [case.where == "above" for case in listed],
        "sky over land": [case.where == "whole" for case in listed],
    }
    page.numbers |= {name: score.mean().item() for name, score in scores.items()}
    page.text(
        "## Ambiguous colours",
        f"{len(listed)} paintings ({len(kinds)} kinds, each with up to {SEEDS} seeds) in which two regions have the "
        "same colour: the white of that hour, for snow, clouds and moonlit sand, or its blue, for a lake, the sky "
        "and snow in the shade. The regions lie side by side or one behind the other on the land, side by side in "
        "the sky, or are the whole sky and the whole land; each prompt names both. Painted and measured as above.",
    )
    page.table(
        ["", *groups],
        [
            [name, *(f"{100 * score[torch.tensor(group)].mean():.1f} %" for group in groups.values())]
            for name, score in scores.items()
        ],
    )
    page.text(found.gain())
    shown = sorted(kinds.values(), key=lambda i: listed[i].hour == "at night")[:12]  # there is little to see at night
    found.sheet(page, "colours_examples", shown)
    page.text(
        "Tied words and prompts, from left to right:",
        *(f"{k + 1}. {listed[i].first} / {listed[i].second}: {listed[i].prompt}" for k, i in enumerate(shown)),
    )
