"""Guided diffusion's sampling, replayed through the MODEL patch and real samplers: ladders, learned variances, the
classifier's gradient, and DiffSketching's two losses as terms of the same guidance."""

from __future__ import annotations

import pytest
import torch

from helpers import diffsketching as golden
from helpers.diffsketching import off, worst

STEP, LOOP = 1e-5, 5e-3  # of the largest value, as the golden numbers' README says
RMS = 2e-3  # of gradients through networks with kinks


class Case:
    """One golden file with its MODEL, classifier and ladder, in the host's coordinates."""

    def __init__(self, room, name, unet_prefix="", gain=1.0):
        self.room, self.note, self.recorded = room, golden.note(name), golden.recorded(name)
        build, host = room("networks").build, room("host")
        note = self.note
        config, ladder = note["unet"], note["diffusion"]
        weights = golden.adm_weights(room, config, note.get("unet_seed", note["seed"]), unet_prefix, gain)
        self.model = host.pixel_model(
            build(weights, num_head_channels=config["num_head_channels"]),
            noise_schedule=ladder["noise_schedule"],
            diffusion_steps=ladder["steps"],
            clip_denoised=True,
        )
        family = host.noise_family(self.model)
        self.sigmas = room("samplers.levels").respaced_walk(family, ladder["timestep_respacing"])
        self.classes = config["num_classes"]
        self.variance = "learned" if ladder["learn_sigma"] else "large"

    def classifier(self, name="classifier_attention", prefix=""):
        note = golden.note(name)
        hints = {"num_head_channels": note["config"]["num_head_channels"]}
        weights = golden.classifier_weights(self.room, note["config"], note["seed"], prefix)
        network = self.room("networks").build(weights, **hints)
        frozen = self.room("networks.frozen").Frozen(
            self.room("host").network_patcher(network), lambda net, x, t: net(x, t)
        )
        return self.room("pictures.classifier").Classifier(name, frozen, note["config"]["out_channels"])

    def guided(self, classifier, scale, model=None):
        energy, terms = self.room("guidance.energy"), self.room("guidance.terms")
        opener = terms.class_score(classifier, self.recorded["y"])
        pull = energy.Energy("class", scale, opener, point=energy.THROUGH, looks_at=energy.STATE)
        return energy.attach(model or self.model, pull)

    def sampler(self, kind):
        import comfy.samplers

        if kind == "ddpm":
            sde = self.room("samplers.sde")
            return comfy.samplers.KSAMPLER(sde.sample_sde, {"variance": self.variance, "guided": sde.AS_MEAN})
        return comfy.samplers.ksampler("euler_ancestral", {"eta": self.note["eta"], "s_noise": 1.0})

    @torch.inference_mode()
    def walked(self, model, kind, x, sigmas, noises):
        """From the state x (variance-preserving) at sigmas[0] to the state at sigmas[-1]."""
        import comfy.sample

        sampler = self.sampler(kind)
        noises = iter(noises)
        sampler.extra_options = {**sampler.extra_options, "noise_sampler": lambda *_: next(noises, torch.zeros(()))}
        sigma, after = float(sigmas[0]), float(sigmas[-1])
        start = x * (1 + sigma**2) ** 0.5
        noise = torch.zeros_like(x)
        label = {"sketch_class": self.recorded["y"].tolist()} if self.classes else {}
        prompt = [[torch.zeros(1, 1, 1), label]]
        found = comfy.sample.sample_custom(
            model, noise, 1.0, sampler, sigmas, prompt, prompt, start, disable_pbar=True, seed=0
        )
        return found / (1 + after**2) ** 0.5


@pytest.fixture(scope="module", params=["guided_steps", "guided_steps_fixedvar"])
def case(request, room):
    return Case(room, request.param)


def test_ladder(case):
    table = case.model.get_model_object("model_sampling")
    kept = case.recorded["timestep_map"]
    assert torch.equal(table.timestep(case.sigmas[:-1]).flip(0), kept.float()), "the network sees original indices"
    abar = 1 / (1 + case.sigmas[:-1].double().flip(0) ** 2)
    assert torch.allclose(abar, case.recorded["alphas_cumprod"], rtol=1e-6)
    before = torch.cat([torch.ones(1), abar[:-1]])
    assert torch.allclose(1 - abar / before, case.recorded["betas"], rtol=1e-5)


@pytest.mark.parametrize("kind", ["ddpm", "ddim"])
def test_guided_step(case, kind):
    recorded, t = case.recorded, 2
    place = len(case.sigmas) - 2 - t
    model = case.guided(case.classifier(), case.note["classifier_scale"])
    found = case.walked(model, kind, recorded["x"], case.sigmas[place : place + 2], [recorded[f"t{t}.noise"]])
    expected = recorded[f"t{t}.p_sample" if kind == "ddpm" else f"t{t}.ddim_sample"]
    assert worst(found, expected) < STEP
    plain = case.walked(case.model, kind, recorded["x"], case.sigmas[place : place + 2], [recorded[f"t{t}.noise"]])
    assert worst(plain, expected) > 20 * STEP, "the classifier makes a difference"


@pytest.mark.parametrize("kind", ["ddpm", "ddim"])
@pytest.mark.parametrize("guided", ["plain", "guided"])
def test_loop(case, kind, guided):
    """The cosine ladder begins at a sigma of hundreds, where float32 leaves 3e-5 of a prediction."""
    recorded, key = case.recorded, f"loop.{kind}.{guided}"
    model = case.model if guided == "plain" else case.guided(case.classifier(), case.note["classifier_scale"])
    found = case.walked(model, kind, recorded["loop.init"], case.sigmas, recorded[f"loop.{kind}.noises"])
    assert worst(found, recorded[key]) < LOOP / 5


class Whole(Case):
    """The golden files with all of DiffSketching's networks."""

    def __init__(self, room, name):
        super().__init__(room, name, "unet.", golden.note(name)["unet_gain"])
        self.seed = self.note["seed"]

    def term(self, which, point="through the model"):
        """The Energy of one term at its golden weight: means in the golden numbers, sums over values here."""
        room, energy = self.room, self.room("guidance.energy")
        terms, weight = room("guidance.terms"), self.note["lambdas"][which]
        values = self.recorded["ref"][0].numel()
        if which == "sketch":
            drawn = golden.pictures(self.recorded["sketch"])
            opener = terms.shape(drawn, self.extractor(), terms.LPIPS, features=self.lpips())
        else:
            opener = terms.feature(golden.pictures(self.recorded["ref"]), self.resnet(), terms.L1)
        return energy.Energy(which, weight / values, opener, point=point)

    def patcher(self, weights):
        return self.room("host").network_patcher(self.room("networks").build(weights))

    def extractor(self):
        config = self.note["photosketch"]
        weights = golden.photosketch_weights(self.room, config["ngf"], config["n_blocks"], self.seed)
        running = self.room("networks.photosketch").RUNNING
        return self.room("pictures.extractors").extractor("tiny", self.patcher(weights), running)

    def lpips(self):
        stored = golden.recorded("official_lpips")
        lin = [stored[key] for key in sorted(stored) if key.startswith("w.")]
        return self.room("pictures.features").features("lpips", self.patcher(golden.lpips_weights(self.seed, lin)))

    def resnet(self):
        weights = golden.resnet_weights(self.room, self.seed)
        return self.room("pictures.features").features("resnet", self.patcher(weights))

    def with_all(self):
        model = self.guided(self.classifier("official_classifier", "classifier."), self.note["lambdas"]["classifier"])
        attach = self.room("guidance.energy").attach
        return attach(attach(model, self.term("sketch")), self.term("image"))


@pytest.fixture(scope="module")
def steps(room):
    return Whole(room, "official_guided_step")


def gradient(case, model, t):
    """What the energies of this MODEL add to a prediction at step t, as the gradient that cond_fn returns."""
    import comfy.samplers

    patched = model.clone()
    kept = {}
    shifted = case.room("guidance.energy").shifted

    def watching(arguments):
        found = shifted(arguments)
        kept["shift"] = (found - arguments["denoised"]).float()
        return found

    patched.model_options["sampler_post_cfg_function"] = [watching]
    assert comfy.samplers
    place = len(case.sigmas) - 2 - t
    sigmas = case.sigmas[place : place + 2]
    case.walked(patched, "ddim", case.recorded[f"t{t}.x"], sigmas, [])
    sigma = float(sigmas[0])
    return kept["shift"] * (1 + sigma**2) ** 0.5 / sigma**2


@pytest.mark.parametrize("which", ["classifier", "image", "sketch"])
def test_gradient_of_each_term(steps, which):
    if which == "classifier":
        classifier = steps.classifier("official_classifier", "classifier.")
        model = steps.guided(classifier, steps.note["lambdas"][which])
    else:
        model = steps.room("guidance.energy").attach(steps.model, steps.term(which))
    assert off(gradient(steps, model, 2), steps.recorded[f"t2.cond.{which}"]) < RMS


@pytest.mark.parametrize("which", ["image", "sketch"])
def test_gradient_to_the_prediction(steps, which):
    """The default point: the slope at the prediction, times c = sigma^2 / (1 + sigma^2)."""
    model = steps.room("guidance.energy").attach(steps.model, steps.term(which, "denoised"))
    sigma = float(steps.sigmas[-4])
    found = gradient(steps, model, 2) * sigma**2 / (1 + sigma**2) ** 0.5 / (sigma**2 / (1 + sigma**2))
    assert off(found, steps.recorded[f"t2.cond.{which}_x0"]) < RMS


@pytest.mark.parametrize("t", [2, 8])
@pytest.mark.parametrize("kind", ["ddpm", "ddim"])
def test_whole_step(steps, t, kind):
    recorded = steps.recorded
    place = len(steps.sigmas) - 2 - t
    found = steps.walked(
        steps.with_all(), kind, recorded[f"t{t}.x"], steps.sigmas[place : place + 2], [recorded[f"t{t}.noise"]]
    )
    assert off(found, recorded[f"t{t}.{kind}.all"]) < RMS
    if t == 2 and kind == "ddim":
        plain = steps.walked(steps.model, kind, recorded["t2.x"], steps.sigmas[place : place + 2], [])
        assert worst(plain, recorded["t2.ddim.none"]) < STEP


@pytest.mark.parametrize("kind", ["ddpm", "ddim"])
def test_loop_of_ten_steps(room, kind):
    """Whole loops plain and with the classifier. With all three terms, from each recorded state to the next: gradients
    of these random networks jump at their kinks, so that another order of float32 additions in the UNet's attention
    already moves the first step by 9e-4 and the end of the loop by 0.15 (root mean square); the steps themselves agree
    to 1e-5."""
    case = Whole(room, f"official_loop10_{kind}")
    recorded, noises = case.recorded, case.recorded.get("noises", torch.zeros(10))
    network = case.classifier("official_classifier", "classifier.")
    for which in ("plain", "classifier"):
        model = case.model if which == "plain" else case.guided(network, case.note["lambdas"]["classifier"])
        found = case.walked(model, kind, recorded["xT"], case.sigmas, noises)
        assert worst(found, recorded[f"{which}.sample"]) < LOOP, which
    states = [recorded["xT"], *recorded["all.x_after_step"], recorded["all.sample"]]
    model = case.with_all()
    for first, last, before, after in zip((0, 1, 4, 7), (1, 4, 7, 10), states, states[1:], strict=False):
        found = case.walked(model, kind, before, case.sigmas[first : last + 1], noises[first:last])
        assert off(found, after) < RMS / 10, (first, off(found, after))


def test_classes_do_not_see_one_another(case):
    """Each image is guided by its own class, whatever the batch."""
    recorded, classifier = case.recorded, case.classifier()
    model = case.guided(classifier, 3.0)
    both = case.walked(model, "ddim", recorded["x"], case.sigmas[-3:-1], recorded["loop.ddim.noises"])
    kept = recorded["y"], recorded["x"]
    recorded["y"] = kept[0][1:]
    one = case.walked(
        case.guided(classifier, 3.0), "ddim", kept[1][1:], case.sigmas[-3:-1], recorded["loop.ddim.noises"][:, 1:]
    )
    recorded["y"] = kept[0]
    assert worst(one, both[1:]) < 1e-4


def test_learned_variance_needs_a_network_that_has_one(room, steps):
    host, adm = room("host"), room("networks.adm")
    torch.manual_seed(0)
    network = adm.ADM(model_channels=32, channel_mult=(1,), num_res_blocks=1).eval().requires_grad_(False)
    case = steps
    model, case.model, case.classes, case.variance = case.model, host.pixel_model(network), None, "learned"
    try:
        with pytest.raises(ValueError, match="six output channels"):
            case.walked(case.model, "ddpm", torch.zeros(1, 3, 16, 16), torch.tensor([2.0, 1.0, 0.0]), [])
    finally:
        case.model, case.classes = model, 10
