"""What several tests share: tiny models, recorded numbers, small trainings. Importable without ComfyUI."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
PACK = TESTS.parent
GOLDEN = TESTS / "golden"
