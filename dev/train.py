"""`python3 dev/run.py train prior --folder DIR`: the starter networks' training, outside the host."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # renders go to processes; numpy's own threads would fight them

from rooms import room

TRAININGS = {"prior": "starter.train_prior", "experts": "starter.train_experts"}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TRAININGS:
        sys.exit(f"usage: train {{{','.join(TRAININGS)}}} [options]; --help after the name lists them")
    room(TRAININGS[sys.argv[1]]).main(sys.argv[2:])


if __name__ == "__main__":
    main()
