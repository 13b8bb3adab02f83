"""DiffSketching's nodes in the host: classes by number and name, every family of models, both gradients, and faults."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from helpers import tiny
from helpers.diffsketching import off, torch_seed

NO_PROMPT = [[torch.zeros(1, 1, 1), {}]]
NAMES = ["a lake", "A Meadow", "dunes"]
SHAPE = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1, 1), "num_head_channels": 32, "classes": 3}


@pytest.fixture(scope="module")
def doors(room):
    return room("nodes.diffsketching")


@pytest.fixture
def folder(room):
    """models/sketch_classifiers of the test host, empty before and after."""
    from helpers.sketchgan_doors import model_folder

    path = model_folder(room("nodes.diffsketching").CLASSIFIERS)
    yield path
    for file in path.iterdir():
        file.unlink()


def network(room, pool="adaptive", seed=0, **more):
    """Weights that follow from the seed alone: torch's own first biases would come from whatever ran before."""
    made = room("networks.noisy_classifier").NoisyClassifier(pool=pool, side=8, **{**SHAPE, **more})
    for name, value in made.state_dict().items():
        if value.ndim > 1:
            value.normal_(generator=torch_seed(seed + len(name))).mul_(value[0].numel() ** -0.5)
        elif name.endswith("bias"):
            value.zero_()
    return made


def load(doors, name, **hints):
    settings = {"num_head_channels": 32, "attention_order": "legacy", "image_size": 0, **hints}
    return doors.SketchClassifierLoader.execute(name, **settings)


@pytest.fixture
def classifier(doors, room, folder):
    """A random classifier of three named classes."""
    save_file(network(room).state_dict(), folder / "named.safetensors", {"classes": json.dumps(NAMES)})
    return load(doors, "named.safetensors").args[0]


@pytest.fixture(scope="module")
def prior(room):
    priors = room("nodes.priors")
    return priors.load_prior(priors.prior_file(priors.STARTER), {}, "float32")[0]


def drawing(batch=1, size=32):
    """A dark ring on white."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    far = ((y - size / 2) ** 2 + (x - size / 2) ** 2).sqrt()
    return (1 - (far - size / 4).abs().lt(1.5).float())[None, :, :, None].expand(batch, -1, -1, 3)


def photo(batch=1, size=32, seed=0):
    coarse = torch.rand(batch, 3, 4, 4, generator=torch_seed(seed))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear").movedim(1, -1).contiguous()


def whole(doors, model, sketch=None, **changes):
    settings = {"class_id": "0", "class_scale": 4.0, "sketch_weight": 1.0, "reference_weight": 0.5}
    settings |= {"gradient": doors.PREDICTION, "start": 0.0, "end": 1.0, "decoder": "auto", "limit": 1.0}
    settings |= {"metric": "lpips"}
    return doors.SketchDiffSketching.execute(model, drawing() if sketch is None else sketch, **settings | changes)


@torch.inference_mode()
def walked(model, latent, sigmas, pixels=True, cfg=1.0, **options):
    prompt = {"positive": NO_PROMPT, "negative": NO_PROMPT} if pixels else {}
    return tiny.sample(model, sigmas, latent, cfg=cfg, **prompt, **options)


SIGMAS = torch.tensor([3.0, 1.0, 0.3, 0.0])


# --- classes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", [0]), (" 2 ", [2]), ("a lake", [0]), ("A LAKE, dunes", [0, 2]), ("1,0,1", [1, 0, 1]), ("a meadow", [1])],
)
def test_classes_by_number_and_name(classifier, text, numbers):
    assert classifier.numbers(text).tolist() == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", r"Class 3 does not exist in 'named.safetensors'. Give a number of 0 to 2, or a name: a lake, A Meadow"),
        ("-1", "Class -1 does not exist"),
        ("", "class_id is empty"),
        (" , ", "class_id is empty"),
        ("river", "has no class 'river'"),
        ("1.5", "has no class '1.5'"),
    ],
)
def test_classes_that_are_not_there(classifier, text, message):
    with pytest.raises(ValueError, match=message):
        classifier.numbers(text)


def test_names_asked_of_a_file_without(doors, room, folder):
    save_file(network(room, "attention").state_dict(), folder / "plain.safetensors")
    found, text = load(doors, "plain.safetensors").args
    assert text == "3 classes without names"
    assert found.image_size == 16, "the attention pool tells the size"
    with pytest.raises(
        ValueError, match=r"'plain.safetensors' has no class names, got 'a lake'. Give a number of 0 to"
    ):
        found.numbers("a lake")


def test_loader_reads_names(classifier, doors, folder):
    assert load(doors, "named.safetensors").args[1] == "0 a lake\n1 A Meadow\n2 dunes"
    assert doors.SketchClassifierLoader.validate_inputs("named.safetensors") is True
    assert "not found" in doors.SketchClassifierLoader.validate_inputs("missing.safetensors")


def test_loader_faults(doors, room, folder):
    save_file(network(room).state_dict(), folder / "many.safetensors", {"classes": json.dumps([*NAMES, "x"])})
    with pytest.raises(ValueError, match="names 4 classes, but the classifier has 3"):
        load(doors, "many.safetensors")
    save_file(network(room).state_dict(), folder / "bad.safetensors", {"classes": "3"})
    with pytest.raises(ValueError, match="sets classes to '3', expected a list of names"):
        load(doors, "bad.safetensors")
    save_file(network(room, norm_groups=8, model_channels=24, num_head_channels=24).state_dict(), folder / "n.sft")
    with pytest.raises(ValueError, match="24 channels, which is not a multiple of 32"):
        load(doors, "n.sft", num_head_channels=24)
    save_file(network(room, "attention").state_dict(), folder / "heads.sft")
    with pytest.raises(ValueError, match="cannot be split into 48 channels per head"):
        load(doors, "heads.sft", num_head_channels=48)


def test_other_files_are_called_by_their_names(doors, room, folder):
    """A ResNet where PhotoSketch was asked, a classifier where a prior was asked, and the other way round."""
    from helpers.sketchgan_doors import model_folder

    experts, priors = room("nodes.extractors"), room("nodes.priors")
    resnet = room("networks.resnet").ResNet(width=8, depths=(1, 1, 1, 1)).state_dict()
    place = model_folder(experts.EXTRACTORS)
    path = place / "resnet50.safetensors"
    save_file(resnet, path)
    try:
        with pytest.raises(
            ValueError, match=r"is a feature network \(ResNet \(torchvision\)\), not a sketch extractor"
        ):
            experts.load_extractor("resnet50.safetensors")
    finally:
        path.unlink()
    save_file(resnet, folder / "resnet50.safetensors")
    with pytest.raises(ValueError, match=r"is a feature network .* not a noisy classifier"):
        load(doors, "resnet50.safetensors")
    save_file(network(room).state_dict(), folder / "c.safetensors")
    with pytest.raises(
        ValueError, match=r"is a noisy classifier .* not a pixel prior. Put it into models/sketch_class"
    ):
        priors.load_prior(str(folder / "c.safetensors"), {})


# --- guidance ---------------------------------------------------------------------------------------------------------


def chance(classifier, picture, wanted):
    """log p(class) of clean pictures [B,3,H,W] in [-1,1]."""
    with torch.inference_mode(False), torch.no_grad():
        logits = classifier.prepare("cpu")(picture.clone(), torch.zeros(len(picture)))
    return logits.log_softmax(1)[range(len(picture)), wanted]


def guided(doors, model, classifier, class_id="2", scale=300.0, vae=None, **changes):
    settings = {"start": 0.0, "end": 1.0, "decoder": "auto", "limit": 0.0, **changes}
    return doors.SketchClassGuidance.execute(model, classifier, class_id, scale, vae=vae, **settings).args[0]


def test_guidance_raises_the_class_of_each_image(doors, prior, classifier):
    latent, low = torch.zeros(2, 3, 32, 32), torch.tensor([0.3, 0.2, 0.1, 0.0])
    before = walked(prior, latent, low)
    after = walked(guided(doors, prior, classifier, "2, 0", 3000.0), latent, low)
    assert (chance(classifier, after, [2, 0]) > chance(classifier, before, [2, 0])).all()
    same = walked(guided(doors, prior, classifier, scale=0.0), latent, low)
    assert torch.equal(same, before), "scale 0 changes nothing"
    late = walked(guided(doors, prior, classifier, start=0.99), latent, SIGMAS[:2])
    assert torch.equal(late, walked(prior, latent, SIGMAS[:2])), "outside of its window"


@pytest.mark.parametrize("class_id", ["2", "2, 0"])
def test_nodes_run_in_inference_mode_as_in_the_host(doors, prior, classifier, class_id):
    latent, low = torch.zeros(2, 3, 32, 32), torch.tensor([0.3, 0.1, 0.0])
    wanted = walked(guided(doors, prior, classifier, class_id), latent, low)
    with torch.inference_mode():
        found = walked(guided(doors, prior, classifier, class_id), latent, low)
    assert torch.equal(found, wanted)


def test_guidance_needs_as_many_classes_as_images(doors, prior, classifier):
    model = guided(doors, prior, classifier, "0, 1, 2")
    with pytest.raises(ValueError, match="class_id has a batch of 3 and the latent one of 2"):
        walked(model, torch.zeros(2, 3, 16, 16), SIGMAS)


@pytest.mark.parametrize("family", ["sd15", "sd15_v", "edm", "sd3", "flux"])
@pytest.mark.parametrize("decoder", ["vae", "linear"])
def test_other_families_see_the_decoded_prediction(doors, room, classifier, family, decoder):
    plain = tiny.model(family)
    latent = tiny.latent(family, height=4, width=4)["samples"]
    top = float(room("host").noise_family(plain).sigmas[-1])
    sigmas = torch.tensor([0.9 if family in ("sd3", "flux") else min(top, 3.0), 0.0])
    vae = tiny.vae(latent.shape[1]) if decoder == "vae" else None
    before = walked(plain, latent, sigmas, pixels=False)
    after = walked(guided(doors, plain, classifier, vae=vae, decoder=decoder), latent, sigmas, pixels=False)
    assert after.isfinite().all()
    assert not torch.equal(before, after)


def unlike_sketch(doors, room, picture, sketch):
    """The method's own measure: how far the pictures' drawings are from the sketch."""
    looks, extractors = room("nodes.extractors"), room("pictures.extractors")
    with torch.inference_mode(False), torch.no_grad():
        distance = looks.load_features(looks.STARTER).perceptual().prepare("cpu")
        draw = extractors.EDGES.prepare("cpu")
        drawn = draw((picture.clone() + 1) / 2).expand(-1, 3, -1, -1)
        return distance(drawn, sketch.movedim(-1, 1).clone())


@pytest.mark.parametrize("gradient", ["to the prediction", "through the model"])
def test_drawings_come_nearer(doors, room, prior, gradient):
    latent = torch.zeros(1, 3, 32, 32)
    sigmas = torch.tensor([2.0, 1.2, 0.7, 0.4, 0.2, 0.1, 0.0])
    before = walked(prior, latent, sigmas)
    model = whole(doors, prior, gradient=gradient, sketch_weight=3.0).args[0]
    after = walked(model, latent, sigmas)
    assert (unlike_sketch(doors, room, after, drawing()) < 0.97 * unlike_sketch(doors, room, before, drawing())).all()


def test_inner_steps_follow_better_in_few_steps(doors, room, prior):
    latent, sigmas = torch.zeros(1, 3, 32, 32), torch.tensor([2.0, 0.7, 0.2, 0.0])

    def distance(**inner):
        model = whole(doors, prior, gradient="to the prediction", sketch_weight=10.0, limit=0.0, **inner).args[0]
        return unlike_sketch(doors, room, walked(model, latent, sigmas), drawing()).item()

    assert distance(inner_steps=1) == distance()
    assert distance(inner_steps=4) < distance()


@pytest.mark.parametrize("family", ["sd15", "edm", "flux"])
@pytest.mark.parametrize("gradient", ["to the prediction", "through the model"])
def test_whole_method_on_every_family(doors, room, classifier, family, gradient):
    plain = tiny.model(family)
    latent = tiny.latent(family, batch=2, height=5, width=4)["samples"]
    vae = tiny.vae(latent.shape[1])
    sigmas = torch.tensor([0.8, 0.5, 0.0] if family == "flux" else [3.0, 1.0, 0.0])
    model = whole(doors, plain, vae=vae, reference=photo(2), classifier=classifier, gradient=gradient).args[0]
    found = walked(model, latent, sigmas, pixels=False, cfg=2.0)
    assert found.isfinite().all()
    assert not torch.equal(found, walked(plain, latent, sigmas, pixels=False, cfg=2.0))
    assert len(plain.model_options.get("sketch_energies", [])) == 0, "the MODEL that came in stays bare"


def test_gradient_through_the_model_is_the_slope_of_the_energy(doors, room, prior):
    """Against differences: moving the state along the shift changes the energy of the prediction as it says."""
    energy = room("guidance.energy")
    import comfy.samplers

    def measure_of(context):
        return lambda sample, level: (sample * weights).flatten(1).sum(1)

    weights = torch.randn(1, 3, 16, 16, generator=torch_seed(1))
    model = energy.attach(prior, energy.Energy("test", 1.0, measure_of, point=energy.THROUGH))
    seen = {}

    def watching(arguments):
        found = energy.shifted(arguments)
        seen["shift"], seen["x"] = arguments["denoised"] - found, arguments["input"].clone()
        return found

    patched = model.clone()
    patched.model_options["sampler_post_cfg_function"] = [watching]
    sigma = 1.5
    walked(patched, torch.zeros(1, 3, 16, 16), torch.tensor([sigma, 0.0]))
    slope = seen["shift"] / sigma**2
    assert comfy.samplers
    step = 1e-2 * torch.randn(slope.shape, generator=torch_seed(2))

    def value(x):
        with torch.no_grad():
            eps = prior.model.diffusion_model.network(
                x / (1 + sigma**2) ** 0.5, prior.model.model_sampling.timestep(torch.tensor([sigma]))
            )
        return float(((x - sigma * eps[:, :3]) * weights).double().sum())

    with torch.inference_mode():
        change = value(seen["x"] + step) - value(seen["x"] - step)
    assert change == pytest.approx(2 * float((slope * step).sum()), rel=2e-2)


def test_weights_of_zero_and_missing_parts_change_nothing(doors, prior, classifier):
    latent = torch.zeros(1, 3, 16, 16)
    none = whole(doors, prior, class_scale=0.0, sketch_weight=0.0, classifier=classifier, reference=None).args[0]
    assert torch.equal(walked(none, latent, SIGMAS), walked(prior, latent, SIGMAS))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sketch": 1 - drawing()}, r"Sketch 1 is white on black: its mean is 0.\d+ of 1. Dark lines on white paper"),
        ({"sketch_weight": float("nan")}, "sketch_weight must be a number"),
        ({"class_scale": float("inf")}, "class_scale must be a finite number"),
        ({"sketch": torch.zeros(1, 8, 8)}, "sketch must have the shape"),
        (
            {"inner_steps": 4, "gradient": "through the model"},
            "inner_steps works with gradient 'to the pred",
        ),
        (
            {"slope_every": 2, "gradient": "through the model"},
            "slope_every works with gradient 'to the pred",
        ),
        ({"decoder": "vae"}, None),
    ],
)
def test_faults(doors, prior, changes, message):
    if message is None:
        assert whole(doors, prior, **changes), "pixel priors ignore the decoder"
        return
    with pytest.raises(ValueError, match=message):
        whole(doors, prior, **changes)


def test_one_sketch_or_one_per_image(doors, prior):
    model = whole(doors, prior, drawing(3)).args[0]
    with pytest.raises(ValueError, match="sketch has a batch of 3 and the latent one of 2"):
        walked(model, torch.zeros(2, 3, 16, 16), SIGMAS)


# --- ladders and noises -----------------------------------------------------------------------------------------------


def test_respaced_steps(doors, prior):
    (sigmas,) = doors.SketchRespacedSteps.execute(prior, "ddim25").args
    table = prior.get_model_object("model_sampling").sigmas
    assert len(sigmas) == 26
    assert sigmas[-1] == 0
    assert torch.equal(sigmas[:-1].flip(0), table[::40])
    assert len(doors.SketchRespacedSteps.execute(tiny.model("sd15"), "10").args[0]) == 11
    with pytest.raises(ValueError, match=r"this model \(flow or EDM\) has none"):
        doors.SketchRespacedSteps.execute(tiny.model("flux"), "ddim25")
    with pytest.raises(ValueError, match="ddim600 does not exist"):
        doors.SketchRespacedSteps.execute(prior, "ddim600")


def test_noise_blend(doors, all_nodes):
    one, other = (all_nodes["RandomNoise"].execute(seed).args[0] for seed in (1, 2))
    noises, labels = doors.SketchNoiseBlend.execute(one, other, 3, "slerp").args
    latent = {"samples": torch.zeros(2, 4, 8, 8)}
    made = [noise.generate_noise(latent) for noise in noises]
    assert labels == ["0.00", "0.50", "1.00"]
    assert torch.allclose(made[0], one.generate_noise(latent))
    assert off(made[2], other.generate_noise(latent)) < 1e-5
    assert [noise.seed for noise in noises] == [1, 1, 1]
