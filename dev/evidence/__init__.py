"""The papers' claims, measured on the starter world: each module is a part of docs/EVIDENCE.md."""
