"""SketchPriorLoader on good and bad files: what it reads, and the exact sentence for everything else."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from helpers.golden_files import load_file

HINTS = {"classcond": (16, 4, "legacy"), "learnsigma": (32, 4, "legacy"), "plain": (0, 2, "new")}


@pytest.fixture(scope="module")
def priors(pack, room):
    return room("nodes.priors")


@pytest.fixture
def folder(priors):
    """models/sketch_priors of the test host, empty before and after."""
    import shutil

    import folder_paths

    path = Path(folder_paths.get_folder_paths("sketch_priors")[0])
    path.mkdir(parents=True, exist_ok=True)
    yield path
    for left in path.iterdir():  # the folder stays: the host keeps a list of its files
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@pytest.fixture(scope="module")
def weights(golden):
    return load_file(golden / "adm/weights_adm_learnsigma.safetensors")


def load(priors, name, head_channels=32, heads=4, order="legacy", size=0, precision="auto"):
    """(MODEL, VAE, size) as the graph gets them."""
    return priors.SketchPriorLoader.execute(name, head_channels, heads, order, size, precision).result


def answer(model, recorded):
    """eps of the network inside a MODEL on the recorded input."""
    return model.model.diffusion_model(recorded["x"], recorded["t"].float(), y=recorded.get("y"))


WRAPPINGS = {
    "plain": lambda w: w,
    "module prefix": lambda w: {f"module.{k}": v for k, v in w.items()},
    "state_dict": lambda w: {"state_dict": w, "epoch": 3},
    "ema beside model": lambda w: {
        "model": {k: v * 0 for k, v in w.items()},
        "ema": w,
        "opt": {"state": {0: {"exp_avg": w["out.2.bias"]}}},
    },
    "one key": lambda w: {"net": w},
    "DDIM list": lambda w: [
        {k: v * 0 for k, v in w.items()},
        {"state": {}, "param_groups": [{"lr": 1.0}]},
        9,
        1000,
        {f"module.{k}": v for k, v in w.items()},
    ],
    "extra numbers": lambda w: {**w, "global_step": 12},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("ending", [".pt", ".ckpt", ".pth"])
def test_reads_pickled_checkpoints(priors, folder, weights, golden, wrapping, ending):
    torch.save(WRAPPINGS[wrapping](weights), folder / f"prior{ending}")
    model, _, size = load(priors, f"prior{ending}")
    recorded = load_file(golden / "adm/forward_adm_learnsigma.safetensors")
    assert (answer(model, recorded) - recorded["out_split"]).abs().max() < 1e-4
    assert size == 256  # two levels are in nobody's table


@pytest.mark.parametrize("name", HINTS)
@pytest.mark.parametrize("half", [False, True])
def test_reads_safetensors(priors, folder, golden, name, half):
    head_channels, heads, order = HINTS[name]
    weights = load_file(golden / f"adm/weights_adm_{name}.safetensors")
    save_file({k: v.half() if half else v for k, v in weights.items()}, folder / "prior.sft")
    model, vae, _ = load(priors, "prior.sft", head_channels, heads, order, precision="float32")
    recorded = load_file(golden / f"adm/forward_adm_{name}.safetensors")
    assert (answer(model, recorded) - recorded["out"][:, :3]).abs().max() < (1e-2 if half else 1e-4)
    assert vae.vae_dtype == torch.float32


def test_reads_ddpm(priors, folder, golden):
    torch.save(load_file(golden / "sdedit/weights_a.safetensors"), folder / "church.ckpt")
    recorded = load_file(golden / "sdedit/unet_forward_a.safetensors")
    assert (answer(load(priors, "church.ckpt")[0], recorded) - recorded["eps"]).abs().max() < 1e-4


def test_a_file_that_states_its_settings_is_believed(priors, folder, golden):
    """Whatever the widgets say, metadata goes first; image_size is given out."""
    stated = {"num_head_channels": 0, "num_heads": 2, "use_new_attention_order": True, "image_size": 96}
    weights = load_file(golden / "adm/weights_adm_plain.safetensors")
    save_file(weights, folder / "stated.safetensors", {key: json.dumps(value) for key, value in stated.items()})
    model, _, size = load(priors, "stated.safetensors", 32, 4, "legacy")
    recorded = load_file(golden / "adm/forward_adm_plain.safetensors")
    assert (answer(model, recorded) - recorded["out"]).abs().max() < 1e-4
    assert size == 96
    assert load(priors, "stated.safetensors", size=512)[2] == 512


def test_second_copies_come_from_the_file(priors, folder, golden):
    """What hooks, torch.compile and several GPUs ask the loader for: the same MODEL again, with the same settings."""
    save_file(load_file(golden / "adm/weights_adm_plain.safetensors"), folder / "prior.safetensors")
    model = load(priors, "prior.safetensors", 0, 2, "new")[0]
    copy = model.clone(force_deepcopy=True)
    assert copy.model is not model.model
    recorded = load_file(golden / "adm/forward_adm_plain.safetensors")
    assert torch.equal(answer(copy, recorded), answer(model, recorded))


def test_built_in_weights_missing(priors, monkeypatch, tmp_path):
    monkeypatch.setattr(priors, "STARTER_FILE", tmp_path / "prior.safetensors")
    sentence = (
        f"The built-in weights are missing ({tmp_path / 'prior.safetensors'}). The pack is incomplete; install it"
    )
    sentence += " again."
    assert priors.SketchPriorLoader.validate_inputs(prior=priors.STARTER) == sentence


def test_files_are_listed_after_the_built_in(priors, folder, weights):
    (folder / "sub").mkdir()
    for name in ("b.safetensors", "a.pt", "sub/c.ckpt", "notes.txt", "weights.bin"):
        (folder / name).write_bytes(b"")
    options = priors.SketchPriorLoader.define_schema().inputs[0].options
    assert options == ["starter landscapes (built in)", "a.pt", "b.safetensors", os.path.join("sub", "c.ckpt")]
    torch.save(weights, folder / "sub" / "c.ckpt")
    assert load(priors, os.path.join("sub", "c.ckpt"))[0] is not None


def test_a_folder_that_is_gone_lists_nothing(priors, folder, weights):
    save_file(weights, folder / "mine.safetensors")
    assert "mine.safetensors" in priors.host.model_files("sketch_priors")
    (folder / "mine.safetensors").unlink()
    folder.rmdir()
    try:
        assert priors.host.model_files("sketch_priors") == []
    finally:
        folder.mkdir()


def test_registering_keeps_the_users_own_paths(room, tmp_path):
    import folder_paths

    host = room("host")
    folder_paths.add_model_folder_path("sketch_test_only", str(tmp_path))
    try:
        host.register_model_folder("sketch_test_only")
        paths, extensions = folder_paths.folder_names_and_paths["sketch_test_only"]
        assert paths == [str(tmp_path), os.path.join(folder_paths.models_dir, "sketch_test_only")]
        assert extensions == {".safetensors", ".sft", ".pt", ".pth", ".ckpt"}
    finally:
        del folder_paths.folder_names_and_paths["sketch_test_only"]


# --- faults: file -> what the user reads ------------------------------------------------------------------------------


class Code:
    """A pickle of it runs a command when loaded carelessly."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return open, (self.mark, "w")


def fake(*keys):
    return {key: torch.zeros(2, 2) for key in keys}


def make_bad(folder: Path, kind: str, weights: dict, mark: Path) -> str:
    """Writes one faulty file and returns its name."""
    match kind:
        case "empty safetensors":
            (folder / "p.safetensors").write_bytes(b"")
        case "web page instead of a model":
            (folder / "p.safetensors").write_text("<!DOCTYPE html>" * 100)
        case "half a safetensors":
            save_file(weights, folder / "whole.safetensors")
            whole = (folder / "whole.safetensors").read_bytes()
            (folder / "p.safetensors").write_bytes(whole[: len(whole) // 2])
        case "pickle named safetensors":
            torch.save(weights, folder / "p.safetensors")
        case "empty pt":
            (folder / "p.pt").write_bytes(b"")
        case "web page as ckpt":
            (folder / "p.ckpt").write_text("<!DOCTYPE html>" * 100)
        case "half a pt":
            torch.save(weights, folder / "whole.pt")
            whole = (folder / "whole.pt").read_bytes()
            (folder / "p.pt").write_bytes(whole[: len(whole) // 2])
        case "code in a pt":
            torch.save({**weights, "extra": Code(mark)}, folder / "p.pt")
        case "code in a bare pickle":
            (folder / "p.ckpt").write_bytes(pickle.dumps({"extra": Code(mark)}))
        case "code in an old pickle":
            (folder / "p.pth").write_bytes(pickle.dumps({"extra": Code(mark)}, protocol=2))
        case "number":
            torch.save({"epoch": 3, "loss": [1.0, 2.0]}, folder / "p.pt")
        case "SD checkpoint":
            save_file(
                fake("model.diffusion_model.input_blocks.0.0.weight", "cond_stage_model.x"), folder / "p.safetensors"
            )
        case "LoRA":
            save_file(fake("lora_unet_down_blocks_0.lora_up.weight", "lora_unet_x.alpha"), folder / "p.safetensors")
        case "latent UNet":
            save_file(fake("input_blocks.1.1.transformer_blocks.0.attn1.to_k.weight"), folder / "p.safetensors")
        case "VAE":
            save_file(fake("encoder.conv_in.weight", "decoder.conv_out.weight"), folder / "p.safetensors")
        case "something else":
            save_file(fake("b.weight", "a.weight", "c", "e", "d"), folder / "p.safetensors")
        case "one tensor missing":
            save_file({k: v for k, v in weights.items() if k != "middle_block.1.qkv.bias"}, folder / "p.safetensors")
        case "upsampler":
            first = weights["input_blocks.0.0.weight"]
            save_file({**weights, "input_blocks.0.0.weight": torch.cat([first, first], 1)}, folder / "p.safetensors")
    return max((p.name for p in folder.iterdir()), key=lambda name: name.startswith("p."))


DAMAGED = "'{}' cannot be read: it is damaged, incomplete or not a {} file. Download it again."
CODE = (
    "'{}' was not loaded: it holds more than tensors, and reading such a file can run code. "
    "Use a .safetensors file, or save the plain state dict where the file was made."
)
SUPPORTED = "ADM (guided diffusion); DDPM (SDEdit, DDIM); DDPM (diffusers, google/ddpm-*)"
FAULTS = {
    "empty safetensors": DAMAGED.format("p.safetensors", ".safetensors"),
    "web page instead of a model": DAMAGED.format("p.safetensors", ".safetensors"),
    "half a safetensors": DAMAGED.format("p.safetensors", ".safetensors"),
    "pickle named safetensors": DAMAGED.format("p.safetensors", ".safetensors"),
    "empty pt": DAMAGED.format("p.pt", ".pt"),
    "web page as ckpt": DAMAGED.format("p.ckpt", ".ckpt"),
    "half a pt": DAMAGED.format("p.pt", ".pt"),
    "code in a pt": CODE.format("p.pt"),
    "code in a bare pickle": CODE.format("p.ckpt"),
    "code in an old pickle": CODE.format("p.pth"),
    "number": "'p.pt' is not a pixel prior of a known kind (there are no named tensors in it). "
    f"Supported are: {SUPPORTED}.",
    "SD checkpoint": "'p.safetensors' is a Stable Diffusion checkpoint, not a pixel prior. "
    "Load it with Load Checkpoint instead.",
    "LoRA": "'p.safetensors' is a LoRA, not a pixel prior. Apply it with Load LoRA to the model it was made for.",
    "latent UNet": "'p.safetensors' is a latent diffusion model, not a pixel prior. "
    "Load it with Load Diffusion Model instead.",
    "VAE": "'p.safetensors' is a VAE, not a pixel prior. Load it with Load VAE instead.",
    "something else": "'p.safetensors' is not a pixel prior of a known kind (first keys: a.weight, b.weight, c, d). "
    f"Supported are: {SUPPORTED}.",
    "one tensor missing": "These weights look like ADM (guided diffusion) but do not fit it: tensors 1 missing (such "
    "as middle_block.1.qkv.bias). The file may be damaged or a variant that is not supported.",
    "upsampler": "A pixel prior has 3 input channels and 3 or 6 output channels; 'p.safetensors' has 6 and 6. "
    "Upsamplers and latent models are unsupported; load another file.",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_bad_file(priors, folder, weights, tmp_path, kind):
    mark = tmp_path / "code ran"
    name = make_bad(folder, kind, weights, mark)
    assert priors.SketchPriorLoader.validate_inputs(prior=name) is True, "the file is there, so the graph may start"
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared below
        load(priors, name)
    assert str(caught.value) == FAULTS[kind]
    assert not mark.exists(), "code in a pickle was run"


def test_wrong_heads(priors, folder, weights):
    save_file(weights, folder / "p.safetensors")
    with pytest.raises(ValueError, match="64 channels cannot be split into 48 channels per head"):
        load(priors, "p.safetensors", 48)


def test_missing_file_names_role_file_folder_and_url(priors, folder):
    known = priors.SketchPriorLoader.validate_inputs(prior="afhq_dog_4m.pt")
    assert known == (
        f"The pixel prior 'afhq_dog_4m.pt' was not found in models/sketch_priors ({folder}). Download it from "
        "https://drive.google.com/file/d/14OG_o3aa8Hxmfu36IIRyOgRwEP6ngLdo/view?usp=sharing and save it there under "
        "that name."
    )
    other_name = priors.SketchPriorLoader.validate_inputs(prior="ddpm-ema-church-256.pt")
    assert other_name.endswith(
        "resolve/main/diffusion_pytorch_model.bin, put it there, and rename diffusion_pytorch_model.bin to "
        "ddpm-ema-church-256.pt."
    )
    unknown = priors.SketchPriorLoader.validate_inputs(prior="mine.pt")
    assert unknown == (
        f"The pixel prior 'mine.pt' was not found in models/sketch_priors ({folder}). Put it there, or choose another; "
        "models_manifest.json in the pack's folder lists files that work."
    )
    with pytest.raises(ValueError, match=r"'mine\.pt' was not found"):
        load(priors, "mine.pt")


@pytest.mark.parametrize("name", ["../secret.pt", "..\\secret.pt", "sub/../../secret.pt", "/etc/passwd"])
def test_path_outside_the_folder(priors, folder, weights, name):
    torch.save(weights, folder.parent / "secret.pt")
    sentence = f"'{name}' points outside models/sketch_priors. Choose a file inside that folder."
    assert priors.SketchPriorLoader.validate_inputs(prior=name) == sentence
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load(priors, name)
    assert str(caught.value) == sentence


def test_name_that_comes_through_a_wire_is_checked_later(priors):
    assert priors.SketchPriorLoader.validate_inputs() is True


# --- the same over HTTP -----------------------------------------------------------------------------------------------


def graph(prior, class_id):
    def node(class_type, **inputs):
        return {"class_type": class_type, "inputs": inputs}

    settings = {
        "num_head_channels": 16,
        "num_heads": 4,
        "attention_order": "legacy",
        "image_size": 24,
        "precision": "auto",
    }
    sampling = {"seed": 1, "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    conditioning = {"positive": ["label", 0], "negative": ["label", 0]}
    return {
        "prior": node("SketchPriorLoader", prior=prior, **settings),
        "label": node("SketchPriorLabel", class_id=class_id),
        "empty": node("EmptyLatentImage", width=["prior", 2], height=32, batch_size=2),
        "walk": node("KSampler", model=["prior", 0], latent_image=["empty", 0], **conditioning, **sampling),
        "decode": node("VAEDecode", samples=["walk", 0], vae=["prior", 1]),
        "out": node("PreviewImage", images=["decode", 0]),
    }


@pytest.fixture(scope="module")
def server_folder(server):
    folder = server.base / "models" / "sketch_priors"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_live_host_paints_with_a_class_prior(server, server_folder, golden):
    import io

    from PIL import Image

    save_file(load_file(golden / "adm/weights_adm_classcond.safetensors"), server_folder / "classes.safetensors")
    images = server.run(graph("classes.safetensors", 3))["out"]["images"]
    assert [Image.open(io.BytesIO(server.picture(image))).size for image in images] == [(24, 32)] * 2


def test_a_live_host_says_our_sentences(server, server_folder, golden):
    from runtime.comfy_server import PromptFailed, PromptRefused

    with pytest.raises(PromptRefused) as refused:
        server.submit(graph("../afhq_dog_4m.pt", -1))
    (fault,) = refused.value.answer["node_errors"]["prior"]["errors"]
    assert fault["details"] == (
        "prior - '../afhq_dog_4m.pt' points outside models/sketch_priors. Choose a file inside that folder."
    )
    with pytest.raises(PromptRefused) as refused:
        server.submit(graph("afhq_dog_4m.pt", -1))
    (fault,) = refused.value.answer["node_errors"]["prior"]["errors"]
    assert "The pixel prior 'afhq_dog_4m.pt' was not found in models/sketch_priors" in fault["details"]
    assert "https://drive.google.com/" in fault["details"]

    save_file(load_file(golden / "adm/weights_adm_classcond.safetensors"), server_folder / "classes.safetensors")
    with pytest.raises(PromptFailed) as failed:
        server.run(graph("classes.safetensors", 9))
    sentence = "Class 9 does not exist in this pixel prior. Choose a class_id of 0 to 4."
    assert failed.value.details["exception_message"].strip() == sentence
