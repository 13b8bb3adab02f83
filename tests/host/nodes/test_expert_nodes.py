"""The loaders of extractors and feature networks on good and bad files, and Photo to Sketch, in the real host."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from helpers.golden_files import load_file


@pytest.fixture(scope="module")
def experts(pack, room):
    return room("nodes.extractors")


@pytest.fixture
def folders(experts):
    """The two model folders of the test host, empty before and after."""
    import folder_paths

    paths = [Path(folder_paths.get_folder_paths(name)[0]) for name in (experts.EXTRACTORS, experts.FEATURES)]
    for path in paths:
        path.mkdir(parents=True, exist_ok=True)
    yield SimpleNamespace(extractors=paths[0], features=paths[1])
    for path in paths:
        for file in path.iterdir():
            file.unlink()


@pytest.fixture(scope="module")
def weights(golden):
    return lambda name: load_file(golden / "invbyinv" / f"weights_{name}.safetensors")


def load_extractor(experts, name):
    return experts.SketchExtractorLoader.execute(name).result[0]


def load_features(experts, name, taps="intended", feeding="as trained", size=0, clip_vision=None):
    return experts.SketchFeatureLoader.execute(name, taps, feeding, size, clip_vision).result[0]


def worst(found, expected):
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


# --- extractors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_photo_to_sketch_with_a_checkpoint(experts, folders, weights, golden, ending):
    """The recorded drawing comes out of the graph's own path, in inference mode as the host runs it."""
    content = {f"module.{key}": value for key, value in weights("infodraw_nb1").items()}
    file = folders.extractors / f"anime{ending}"
    save_file(content, file) if ending == ".safetensors" else torch.save({"state_dict": content}, file)
    known = load_file(golden / "invbyinv" / "forward_infodraw.safetensors")
    with torch.inference_mode():
        chosen = load_extractor(experts, file.name)
        image = known["nb1_x"].movedim(1, -1)
        (sketch,) = experts.SketchPhotoToSketch.execute(image, chosen).result
    assert chosen.name == file.name
    assert sketch.shape == image.shape
    assert worst(sketch[..., 0], known["nb1_out"][:, 0]) < 1e-5
    assert torch.equal(sketch[..., 0], sketch[..., 2])
    assert type(chosen.network.patcher).__name__.startswith("ModelPatcher"), "under the host's memory management"


def test_photo_to_sketch_needs_nothing(experts):
    image = torch.zeros(2, 40, 33, 3)
    image[:, :, 16:] = 0.8
    with torch.inference_mode():
        (sketch,) = experts.SketchPhotoToSketch.execute(image).result
    assert sketch.shape == image.shape
    assert sketch[:, :, 15:17].max() < 0.5 < 0.9 < sketch[:, :, :8].min()
    grey, see_through = image[..., :1], torch.cat([image, torch.rand(2, 40, 33, 1)], -1)
    for other in (grey, see_through):
        assert torch.allclose(experts.SketchPhotoToSketch.execute(other).result[0], sketch, atol=1e-5)


def test_edges_are_the_default(experts, room):
    assert load_extractor(experts, "edges (no weights)") is room("pictures.extractors").EDGES
    assert experts.SketchExtractorLoader.define_schema().inputs[0].options[0] == "edges (no weights)"


def test_built_ins_are_listed_only_where_they_are(experts, folders, weights, monkeypatch, tmp_path):
    paths = tmp_path / "extractor.safetensors", tmp_path / "features.safetensors"
    monkeypatch.setattr(experts, "STARTER_EXTRACTOR", paths[0])
    monkeypatch.setattr(experts, "STARTER_FEATURES", paths[1])
    (folders.extractors / "a.pt").write_bytes(b"")
    (folders.features / "b.pt").write_bytes(b"")
    (folders.features / "notes.txt").write_bytes(b"")

    def options():
        loaders = experts.SketchExtractorLoader, experts.SketchFeatureLoader
        return [loader.define_schema().inputs[0].options for loader in loaders]

    assert options() == [["edges (no weights)", "a.pt"], ["b.pt", "the connected clip_vision"]]
    for loader, name, path in zip(
        (experts.SketchExtractorLoader, experts.SketchFeatureLoader), ("extractor", "features"), paths, strict=True
    ):
        assert loader.validate_inputs(**{name: "starter (built in)"}) == (
            f"The built-in weights are missing ({path}). The pack is incomplete; install it again."
        )
    save_file(weights("infodraw_nb1"), paths[0])
    save_file(vgg(), paths[1], {"image_size": "128"})
    assert options() == [
        ["edges (no weights)", "starter (built in)", "a.pt"],
        ["starter (built in)", "b.pt", "the connected clip_vision"],
    ]
    assert load_extractor(experts, "starter (built in)").name == "starter (built in)"
    starter = load_features(experts, "starter (built in)")
    assert starter.preprocess(torch.rand(1, 3, 512, 256)).shape == (1, 3, 256, 128), (
        "never larger than it was trained on"
    )
    assert starter.preprocess(torch.rand(1, 3, 64, 64)).shape == (1, 3, 64, 64)


# --- feature networks -------------------------------------------------------------------------------------------------


def vgg():
    torch.manual_seed(0)
    channels, weights = 3, {}
    for place in (0, 3, 6, 9, 12):
        weights |= {
            f"features.{place}.weight": torch.randn(4, channels, 3, 3),
            f"features.{place}.bias": torch.zeros(4),
        }
        channels = 4
    return weights


def inception():
    weights = {}
    for name, channels, out in (("1a", 3, 32), ("2a", 32, 32), ("2b", 32, 64)):
        key = f"Conv2d_{name}_3x3"
        weights[f"{key}.conv.weight"] = torch.randn(out, channels, 3, 3) / 10
        weights |= {f"{key}.bn.{part}": torch.ones(out) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**weights, "fc.weight": torch.zeros(1000, 2048)}


KINDS = {
    "clip": (
        lambda w: {**{f"visual.{k}": v for k, v in w("clip_modified_resnet").items()}, "logit_scale": torch.ones(1)},
        6,
    ),
    "vgg": (lambda w: {**vgg(), "classifier.0.weight": torch.zeros(8, 8)}, 5),
    "inception": (lambda w: inception(), 1),
}


@pytest.mark.parametrize("name", KINDS)
def test_feature_networks(experts, folders, weights, room, name):
    make, count = KINDS[name]
    torch.save(make(weights), folders.features / "net.pt")
    with torch.inference_mode():
        found = load_features(experts, "net.pt")
        x = torch.rand(2, 3, 64, 80)
        with room("networks.frozen").gradients():
            leaf = room("networks.frozen").ordinary(x).requires_grad_()
            maps = found.prepare("cpu")(leaf)
            (gradient,) = torch.autograd.grad(torch.stack([m.square().mean() for m in maps]).sum(), leaf)
    assert found.kind == name
    assert len(maps) == len(found.taps) == count
    assert gradient.abs().max() > 0
    assert not any(p.requires_grad for p in found.network.patcher.model.parameters())


def test_published_clip(experts, folders, weights, golden, room):
    torch.save(weights("clip_modified_resnet"), folders.features / "RN.pt")
    known = load_file(golden / "invbyinv" / "clip_distance.safetensors")
    clip = load_features(experts, "RN.pt", "published", "as published")
    with room("networks.frozen").gradients():
        look = clip.prepare("cpu")
        energy = clip.distance(look(known["a"]), look(known["b"]))
    assert clip.published
    assert worst(energy.mean(), known["published_energy"]) < 1e-5


def test_domain_extractor_states_its_heads(experts, folders, weights, room, golden):
    save_file(weights("dse"), folders.features / "dse.safetensors", {"num_head_channels": json.dumps(32)})
    domain = load_features(experts, "dse.safetensors")
    known = load_file(golden / "invbyinv" / "step_dse.safetensors")
    with room("networks.frozen").gradients():
        look = domain.prepare("cpu")
        energy = domain.likeness(*(look(known[f"dse/{name}"], known["dse/t"]) for name in ("y", "xt")))
    assert worst(energy.sum(), known["dse/energysum_dse"]) < 1e-5


CLIP_VISION = {
    "model_type": "clip_vision_model",
    "num_hidden_layers": 3,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "hidden_act": "quick_gelu",
    "num_channels": 3,
    "patch_size": 8,
    "image_size": 32,
    "projection_dim": 16,
}


@pytest.mark.parametrize("changes", [{}, {"model_type": "siglip_vision_model", "projection_dim": None}])
def test_clip_vision_of_the_host(experts, room, changes):
    """The same numbers as the host's own encode_image, with a gradient, whatever mode its weights were made in."""
    import comfy.clip_vision

    settings = {k: v for k, v in {**CLIP_VISION, **changes}.items() if v is not None}
    with torch.inference_mode():
        torch.manual_seed(0)
        vision = comfy.clip_vision.ClipVisionModel(settings)
        for parameter in vision.model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
        image = torch.randint(0, 256, (2, 32, 32, 3)) / 255  # the host rounds to 8 bits
        known = vision.encode_image(image)
        found = load_features(experts, experts.CONNECTED, clip_vision=vision)
        frozen = room("networks.frozen")
        with frozen.gradients():
            leaf = frozen.ordinary(image).movedim(-1, 1).requires_grad_()
            look = found.prepare("cpu")

            def value(x):
                grid, vector = look(x)
                return (grid[:, 0].sin().sum() + vector.sin().sum()).double()

            grid, vector = look(leaf)
            (gradient,) = torch.autograd.grad(value(leaf), leaf)
            step = 1e-3 * gradient / gradient.norm()
            rise = float((value(leaf + step) - value(leaf - step)).detach()) / 2e-3
    assert grid.shape == (2, 32, 4, 4)
    assert vector.shape[0] == 2
    assert rise == pytest.approx(float(gradient.norm()), rel=0.02)
    expected = known["penultimate_hidden_states"][:, -16:]
    expected = torch.nn.functional.layer_norm(expected.float(), (32,)).transpose(1, 2).reshape(2, 32, 4, 4)
    assert worst(grid, expected) < 1e-5
    embeds = known["image_embeds"]
    assert worst(vector, embeds.mean(1) if embeds.ndim == 3 else embeds) < 1e-5


def test_a_clip_vision_of_varying_size_is_refused(experts):
    with pytest.raises(ValueError, match="variable number of patches"):
        load_features(experts, experts.CONNECTED, clip_vision=SimpleNamespace(model_type="siglip2_vision_model"))


def test_nothing_connected(experts):
    assert experts.SketchFeatureLoader.validate_inputs(features=experts.CONNECTED) is True
    with pytest.raises(ValueError, match=r"nothing is connected\. Connect Load CLIP Vision, or choose a file"):
        load_features(experts, experts.CONNECTED)


# --- faults: file -> what the user reads ------------------------------------------------------------------------------


def fake(*keys):
    return {key: torch.zeros(2, 2) for key in keys}


FEATURE_KINDS = (
    "CLIP ResNet, picture half; CLIP ResNet; ResNet (torchvision); ResNet (DiffSketching); ResNet (DiffSketching's "
    "feature training); AlexNet; LPIPS (AlexNet); VGG; LPIPS (VGG); InceptionV3; DSE (EGSDE)"
)
FAULTS = {
    "extractor among features": (
        "sketch_features",
        lambda w: w("infodraw_nb1"),
        "'p.pt' is a sketch extractor (InformativeDrawings), not a feature network. Put it into "
        "models/sketch_extractors and load it with Load Sketch Extractor.",
    ),
    "features among extractors": (
        "sketch_extractors",
        lambda w: vgg(),
        "'p.pt' is a feature network (VGG), not a sketch extractor. Put it into models/sketch_features and load it "
        "with Load Sketch Features.",
    ),
    "domain extractor among extractors": (
        "sketch_extractors",
        lambda w: w("dse"),
        "'p.pt' is a domain extractor (DSE (EGSDE)), not a sketch extractor. Put it into models/sketch_features and "
        "load it with Load Sketch Features.",
    ),
    "LoRA": (
        "sketch_extractors",
        lambda w: fake("lora_unet_x.lora_up.weight"),
        "'p.pt' is a LoRA, not a sketch extractor. Apply it with Load LoRA to the model it was made for.",
    ),
    "CLIP vision": (
        "sketch_features",
        lambda w: fake("vision_model.encoder.layers.0.layer_norm1.weight"),
        "'p.pt' is a CLIP vision model, not a feature network. Load it with Load CLIP Vision and connect that to "
        "clip_vision.",
    ),
    "LPIPS without a network": (
        "sketch_features",
        lambda w: {"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)},
        "'p.pt' is only the channel weights of LPIPS, without its network, not a feature network. Save all of "
        "lpips.LPIPS(net='vgg').state_dict().",
    ),
    "something else": (
        "sketch_features",
        lambda w: fake("b", "a"),
        f"'p.pt' is not a feature network of a known kind (first keys: a, b). Supported are: {FEATURE_KINDS}.",
    ),
    "no tensors": (
        "sketch_extractors",
        lambda w: {"epoch": 3},
        "'p.pt' is not a sketch extractor of a known kind (there are no named tensors in it). Supported are: "
        "InformativeDrawings; PhotoSketch; TOM.",
    ),
    "sketch to sketch": (
        "sketch_extractors",
        lambda w: {**w("infodraw_nb1"), "model0.1.weight": torch.zeros(64, 1, 7, 7)},
        "A sketch extractor takes 3 colour channels; 'p.pt' takes 1. Load another file.",
    ),
    "one tensor missing": (
        "sketch_extractors",
        lambda w: {k: v for k, v in w("infodraw_nb1").items() if k != "model3.3.bias"},
        "These weights look like InformativeDrawings but do not fit it: tensors 1 missing (such as model3.3.bias). "
        "The file may be damaged or a variant that is not supported.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_file(experts, folders, weights, fault):
    kind, content, sentence = FAULTS[fault]
    extractors = kind == "sketch_extractors"
    torch.save(content(weights), (folders.extractors if extractors else folders.features) / "p.pt")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared below
        load_extractor(experts, "p.pt") if extractors else load_features(experts, "p.pt")
    assert str(caught.value) == sentence


def test_prior_among_features(experts, folders, golden):
    save_file(load_file(golden / "adm/weights_adm_plain.safetensors"), folders.features / "p.safetensors")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load_features(experts, "p.safetensors")
    assert str(caught.value) == (
        "'p.safetensors' is a pixel prior (ADM (guided diffusion)), not a feature network. Put it into "
        "models/sketch_priors and load it with Load Pixel Prior."
    )


def test_a_program_is_not_run(experts, folders):
    """CLIP as OpenAI released it: TorchScript. It is recognised before anything is read."""
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), folders.features / "RN101.pt")
    with pytest.raises(ValueError, match=r"'RN101\.pt' is a TorchScript program, not plain weights"):
        load_features(experts, "RN101.pt")


def test_priors_refuse_experts(experts, folders, room, weights):
    import folder_paths

    path = Path(folder_paths.get_folder_paths("sketch_priors")[0])
    path.mkdir(parents=True, exist_ok=True)
    torch.save(weights("infodraw_nb1"), path / "p.pt")
    try:
        with pytest.raises(
            ValueError, match=r"'p\.pt' is a sketch extractor \(InformativeDrawings\), not a pixel prior"
        ):
            room("nodes.priors").SketchPriorLoader.execute("p.pt", 64, 4, "legacy", 0, "auto")
    finally:
        (path / "p.pt").unlink()


def test_missing_file_names_role_file_folder_and_url(experts, folders):
    for loader, name, file, role, folder in (
        (experts.SketchExtractorLoader, "extractor", "mine.pth", "sketch extractor", folders.extractors),
        (experts.SketchFeatureLoader, "features", "mine.pth", "feature network", folders.features),
    ):
        assert loader.validate_inputs(**{name: file}) == (
            f"The {role} '{file}' was not found in models/{folder.name} ({folder}). Put it there, or choose another; "
            "models_manifest.json in the pack's folder lists files that work."
        )
        assert loader.validate_inputs(**{name: "../x.pt"}) == (
            f"'../x.pt' points outside models/{folder.name}. Choose a file inside that folder."
        )
        assert loader.validate_inputs() is True
    known = experts.SketchFeatureLoader.validate_inputs(features="vgg16-397923af.pth")
    assert "Download it from https://download.pytorch.org/models/vgg16-397923af.pth and save it there" in known
