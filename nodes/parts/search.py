"""Words under which people look for a node, also in Chinese and Japanese: the editor's search has one list for all."""

from __future__ import annotations

SKETCH = ("sketch", "scribble", "doodle", "line art", "草图", "涂鸦", "线稿", "スケッチ", "落書き", "線画")
STROKES = ("stroke", "strokes", "stroke painting", "笔触", "色块", "ストローク", "塗り")
IMG2IMG = ("img2img", "image to image", "denoise strength", "图生图", "重绘强度", "画像から画像")
INPAINT = ("inpaint", "inpainting", "masked edit", "局部重绘", "修补", "インペイント", "部分修正")
REGIONAL = ("regional", "regional prompt", "area prompt", "mask prompt", "分区提示词", "区域", "領域プロンプト", "領域")
PALETTE = ("palette", "colours", "colors", "调色板", "颜色", "パレット", "色")
STYLE = (
    "style transfer",
    "style reference",
    "reference image",
    "exemplar",
    "风格迁移",
    "参考图",
    "スタイル",
    "参照画像",
)
TRAINING = ("train", "training", "fine-tune", "训练", "学習", "トレーニング")
COMPARE = ("compare", "grid", "xy plot", "对比", "比较", "比較")
