"""What tells the sketch GAN's files and networks apart; imports nothing, so that nodes can list the kinds."""

from __future__ import annotations

AE_KEYS = ("s.sf_256.0.weight", "c.cf_256.0.weight", "d.base_feat")
FOLDED_KEYS = ("style_encoder.sf_256.0.weight", "content_encoder.cf_256.0.weight", "decoder.base_feat")
GAN_KEYS = tuple(f"ae.{key}" for key in FOLDED_KEYS)
KINDS = ("art", "face", "shoe")  # of generators
TOM_KEYS = ("g.decode_32.main.2.weight", "g.decode_64.main.2.weight", "g.final.0.bias")
