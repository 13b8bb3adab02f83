"""Processes that make scenes, begun by a process that has already computed with several threads."""

from __future__ import annotations

import subprocess
import sys

from helpers import PACK

PROGRAM = """
import sys
import torch
sys.path.insert(0, sys.argv[1])
from runtime.rooms import room

torch.set_num_threads(2)
torch.rand(8, 64, 64, 64).median(1)  # OpenMP's threads are there from now on
with room("starter.training.maps").processes(1) as pool:
    made = list(pool.map(room("starter.training.paintings")._chunk, [(0, 1, 32)]))
print(len(made), made[0][0].shape)
"""


def test_a_forked_process_does_not_wait_for_threads_that_it_has_not():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(PACK / "dev")], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split()[0] == "1"
