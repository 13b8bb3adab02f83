"""What the pack costs: each module renews its own sections of docs/BENCH.md."""
