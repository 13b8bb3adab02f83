"""The graphs of DiffSketching."""

from __future__ import annotations

from typing import Any

from templates.parts import STARTER, STARTER_LINES, Graph, drawing, join, node, note

IMAGENET = {
    "name": "256x256_diffusion.pt",
    "url": "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion.pt",
    "directory": "sketch_priors",
}
CLASSIFIER = {
    "name": "256x256_classifier.pt",
    "url": "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_classifier.pt",
    "directory": "sketch_classifiers",
}
PHOTOSKETCH = {
    "name": "latest_net_G.pth",
    "url": "https://drive.google.com/file/d/1TQf-LyS8rRDDapdcTnEgWzYJllPgiXdj/view",
    "directory": "sketch_extractors",
}
LPIPS = {
    "name": "lpips_alex.pth",
    "url": "https://github.com/richzhang/PerceptualSimilarity",
    "directory": "sketch_features",
}
SKETCH = "line drawing - lake and peaks.png"


def method(column: int, **settings: Any) -> Graph:
    """The starter prior under DiffSketching with the node `drawing` as the sketch."""
    return {
        "nodes": {
            "prior": node("SketchPriorLoader", 0, (280, 0), prior=STARTER),
            "lines": node("SketchExtractorLoader", 0, (280, 0), extractor=STARTER_LINES),
            "label": node("SketchPriorLabel", 0),
            "method": node("SketchDiffSketching", column, (320, 0), **settings),
        },
        "links": [
            ("prior", "model", "method", "model"),
            ("lines", "extractor", "method", "extractor"),
            ("drawing", "image", "method", "sketch"),
        ],
    }


def walk(column: int, sampler: str, latent: tuple[str, str], respacing: str = "ddim25", **more: Any) -> Graph:
    """Respaced steps and SamplerCustom on the MODEL of `method`, and the pictures four times enlarged."""
    return {
        "nodes": {
            "steps": node("SketchRespacedSteps", column, respacing=respacing),
            "select": node("KSamplerSelect", column, sampler_name=sampler),
            "sampler": node("SamplerCustom", column + 1, (300, 0), add_noise=True, noise_seed=1, cfg=1.0, **more),
            "decode": node("VAEDecode", column + 2),
            "larger": node("ImageScaleBy", column + 2, upscale_method="lanczos", scale_by=4.0),
        },
        "links": [
            ("prior", "model", "steps", "model"),
            ("method", "model", "sampler", "model"),
            ("label", "conditioning", "sampler", "positive"),
            ("label", "conditioning", "sampler", "negative"),
            ("select", "SAMPLER", "sampler", "sampler"),
            ("steps", "sigmas", "sampler", "sigmas"),
            (*latent, "sampler", "latent_image"),
            ("sampler", "output", "decode", "samples"),
            ("prior", "vae", "decode", "vae"),
            ("decode", "IMAGE", "larger", "image"),
        ],
    }


def sketch_to_photo() -> Graph:
    text = (
        "## DiffSketching: a sketch steers the walk from noise\n\nAt every step the prediction is drawn in lines and "
        "compared with your sketch. Nothing of the sketch's own colours is used: the walk starts from pure noise.\n\n"
        "- Choose another line drawing in *sketch*, or upload your own, dark on white.\n- **sketch_weight**: higher "
        "values follow the lines more strictly.\n- Connect a photo to **reference**, and its content is compared "
        "place by place, too.\n- **metric** lpips is the published comparison (weight 0.05).\n- A noisy classifier "
        "adds a class: see the ImageNet version of this graph."
    )
    parts = {
        "nodes": {
            "note": note(text, height=360),
            "drawing": drawing(SKETCH, 1, named="sketch"),
            "empty": node("EmptyLatentImage", 2, width=64, height=64, batch_size=4),
            "save": node("SaveImage", 5, (480, 520), filename_prefix="SketchSynth/sketch to photo"),
        },
        "links": [("larger", "IMAGE", "save", "images")],
    }
    return join(parts, method(2), walk(2, "ddpm", ("empty", "LATENT")))


def edit_by_sketch() -> Graph:
    text = (
        "## DiffSketching: edit a photo by a sketch\n\nThe photo stays as it is where the mask is black; where it is "
        "white, the model paints what the sketch shows.\n\n- The mask here is the upper part of the picture: change "
        "*painted part*, or connect the mask of *Load Image*.\n- **t0**: how much of the photo shines through in the "
        "painted part.\n- **sketch_weight**: how strictly the lines are followed."
    )
    parts = {
        "nodes": {
            "note": note(text, height=300),
            "drawing": drawing(SKETCH, 1, named="sketch of what should stand there"),
            "photo": drawing("photo - evening lake.png", 1, named="photo"),
            "encode": node("VAEEncode", 2),
            "none": node("SolidMask", 1, value=0.0, width=64, height=64),
            "part": node("SolidMask", 1, named="painted part", value=1.0, width=64, height=36),
            "mask": node("MaskComposite", 2, x=0, y=0, operation="add"),
            "masked": node("SetLatentNoiseMask", 2),
            "repeat": node("RepeatLatentBatch", 2, amount=4),
            "t0": node("NoiseToT0", 3, (300, 0), t0=0.6, steps=25, seed=1),
            "select": node("KSamplerSelect", 3, sampler_name="ddpm"),
            "sampler": node("SamplerCustom", 4, (300, 0), add_noise=True, noise_seed=1, cfg=1.0),
            "decode": node("VAEDecode", 5),
            "larger": node("ImageScaleBy", 5, upscale_method="lanczos", scale_by=4.0),
            "save": node("SaveImage", 6, (480, 520), filename_prefix="SketchSynth/edit by sketch"),
        },
        "links": [
            ("photo", "image", "encode", "pixels"),
            ("prior", "vae", "encode", "vae"),
            ("none", "MASK", "mask", "destination"),
            ("part", "MASK", "mask", "source"),
            ("encode", "LATENT", "masked", "samples"),
            ("mask", "MASK", "masked", "mask"),
            ("masked", "LATENT", "repeat", "samples"),
            ("prior", "model", "t0", "model"),
            ("repeat", "LATENT", "t0", "latent"),
            ("method", "model", "sampler", "model"),
            ("label", "conditioning", "sampler", "positive"),
            ("label", "conditioning", "sampler", "negative"),
            ("select", "SAMPLER", "sampler", "sampler"),
            ("t0", "sigmas", "sampler", "sigmas"),
            ("repeat", "LATENT", "sampler", "latent_image"),
            ("sampler", "output", "decode", "samples"),
            ("prior", "vae", "decode", "vae"),
            ("decode", "IMAGE", "larger", "image"),
            ("larger", "IMAGE", "save", "images"),
        ],
    }
    return join(parts, method(3))


def between_two_noises() -> Graph:
    text = (
        "## DiffSketching: between two noises\n\nSix noises lead from one seed to another, and each becomes a picture "
        "of the same sketch: colours and hours change, the lines stay.\n\n- Change the two seeds, or **count**.\n- "
        "**way** *published arc* is what the release's deleted script did: it never reaches the second noise.\n- The "
        "sampler adds no noise of its own (*euler*), so that neighbours look alike."
    )
    parts = {
        "nodes": {
            "note": note(text, height=300),
            "drawing": drawing(SKETCH, 1, named="sketch"),
            "one": node("RandomNoise", 1, named="first noise", noise_seed=3, control_after_generate="fixed"),
            "other": node("RandomNoise", 1, named="second noise", noise_seed=8, control_after_generate="fixed"),
            "blend": node("SketchNoiseBlend", 2, count=6),
            "empty": node("EmptyLatentImage", 2, width=64, height=64, batch_size=1),
            "guider": node("BasicGuider", 3),
            "steps": node("SketchRespacedSteps", 3, respacing="ddim25"),
            "select": node("KSamplerSelect", 3, sampler_name="euler"),
            "sampler": node("SamplerCustomAdvanced", 4, (300, 0)),
            "decode": node("VAEDecode", 5),
            "sheet": node("SketchContactSheet", 5, (300, 0)),
            "save": node("SaveImage", 6, (480, 520), filename_prefix="SketchSynth/between two noises"),
        },
        "links": [
            ("one", "NOISE", "blend", "noise"),
            ("other", "NOISE", "blend", "other_noise"),
            ("blend", "noise", "sampler", "noise"),
            ("method", "model", "guider", "model"),
            ("label", "conditioning", "guider", "conditioning"),
            ("guider", "GUIDER", "sampler", "guider"),
            ("select", "SAMPLER", "sampler", "sampler"),
            ("prior", "model", "steps", "model"),
            ("steps", "sigmas", "sampler", "sigmas"),
            ("empty", "LATENT", "sampler", "latent_image"),
            ("sampler", "output", "decode", "samples"),
            ("prior", "vae", "decode", "vae"),
            ("decode", "IMAGE", "sheet", "images"),
            ("blend", "labels", "sheet", "labels"),
            ("sheet", "sheet", "save", "images"),
        ],
    }
    return join(parts, method(2))


def imagenet() -> Graph:
    text = (
        "## DiffSketching on ImageNet: a sketch and a class\n\nThe method with the networks that it was published "
        "with: guided diffusion's 256 px prior and noisy classifier, PhotoSketch and LPIPS. Every file and "
        "its address stands in *models_manifest.json*.\n\n- **class_id** of *DiffSketching* and *Pixel Prior Label*: "
        "the same of ImageNet's 1000 classes, here 340, a zebra.\n- **respacing** ddim25 with *euler* is DDIM with 25 "
        "steps.\n- PhotoSketch's weights are for non-commercial use; the built-in edges work without them."
    )
    parts = {
        "nodes": {
            "note": note(text, height=340),
            "prior": node("SketchPriorLoader", 0, (280, 0), models=[IMAGENET], prior=IMAGENET["name"]),
            "lines": node("SketchExtractorLoader", 0, (280, 0), models=[PHOTOSKETCH], extractor=PHOTOSKETCH["name"]),
            "lpips": node("SketchFeatureLoader", 0, (280, 0), models=[LPIPS], features=LPIPS["name"]),
            "classifier": node(
                "SketchClassifierLoader", 0, (280, 0), models=[CLASSIFIER], classifier=CLASSIFIER["name"]
            ),
            "label": node("SketchPriorLabel", 0, class_id=340),
            "drawing": drawing(SKETCH, 1, size=256, named="sketch (of a zebra)"),
            "method": node("SketchDiffSketching", 2, (320, 0), class_id="340", metric="lpips", sketch_weight=0.05),
            "empty": node("EmptyLatentImage", 2, width=256, height=256, batch_size=1),
            "save": node("SaveImage", 5, (480, 520), filename_prefix="SketchSynth/sketch and class"),
        },
        "links": [
            ("prior", "model", "method", "model"),
            ("lines", "extractor", "method", "extractor"),
            ("lpips", "features", "method", "perceptual"),
            ("classifier", "classifier", "method", "classifier"),
            ("drawing", "image", "method", "sketch"),
            ("decode", "IMAGE", "save", "images"),
        ],
    }
    whole = join(parts, walk(2, "euler", ("empty", "LATENT")))
    del whole["nodes"]["larger"]
    whole["links"] = [link for link in whole["links"] if "larger" not in link]
    return whole


DIFFSKETCHING = {
    "DiffSketching - sketch to photo": sketch_to_photo,
    "DiffSketching - edit by sketch": edit_by_sketch,
    "DiffSketching - between two noises": between_two_noises,
    "DiffSketching - sketch and class (ImageNet 256)": imagenet,
}
