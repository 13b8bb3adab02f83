"""When GradOP looks at the painting: the released code's arithmetic, for any number of steps."""

from __future__ import annotations


def window(steps: int, strength: float, rounds: int) -> range:
    """After which of the `steps` steps GradOP+ optimises, counted from 0, in its released code.

    The first is int(steps * (1 - strength)) in double arithmetic: 9, not 10, for 50 steps and 0.8. The rounds take
    consecutive steps. The last step is never one of them, and rounds that would fall on it or later are dropped.
    """
    first = min(int(steps * (1 - strength)), steps)
    return range(first, max(first, min(first + rounds, steps - 1)))


def second_walk(steps: int, strength: float) -> int:
    """The step at which GradOP's second walk begins, so that int(steps * strength) steps are left, at least one."""
    return steps - max(1, min(int(steps * strength), steps))
