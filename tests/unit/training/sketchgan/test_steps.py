"""Training steps of the sketch GAN move every weight as the official training functions did, randomness replayed."""

from __future__ import annotations

import os
from functools import partial

import pytest
import torch
from torch import nn

from helpers import sketchgan_golden as known

EXACT = 1e-8  # of a tensor's absolute sum; both sides in float64
SLOW = bool(os.environ.get("SKETCHSYNTH_SLOW"))  # the face generator is wide whatever the width: 40 s of one core
SKETCHES = ("org", "bold", "erased", "erased_bold")


@pytest.fixture(scope="module")
def ae_steps(room):
    return room("training.sketchgan.autoencoder")


@pytest.fixture(scope="module")
def extractor_steps(room):
    return room("training.sketchgan.extractor")


@pytest.fixture(scope="module")
def gan_steps(room):
    return room("training.sketchgan.generator")


def stub(a, b):
    """What stood in for LPIPS in the recordings."""
    return 0.5 * (a - b).square().mean((1, 2, 3)) + 0.5 * (a - b).abs().mean((1, 2, 3))


def recorded_autoencoder(ae, ae_steps):
    return ae_steps.Autoencoder(
        known.fill(ae.StyleEncoder(width=8, classes=6, spectral=True), "s.", 11),
        known.fill(ae.ContentEncoder(width=8, spectral=True), "c.", 11),
        known.fill(ae.Decoder(width=8, spectral=True), "d.", 11),
    )


def pairs(tensors, i, chosen):
    """The recorded paired batch with the sketch set that was drawn."""
    sketch = known.grown(tensors[f"pm{i}.skt_{min(chosen, 2) + 1}"])
    return known.grown(tensors[f"pm{i}.rgb"]), sketch


def all_agree(networks, recorded, share=EXACT):
    wrong: list[str] = [
        line for prefix, network in networks.items() for line in known.misses(network, prefix, recorded, share)
    ]
    assert not wrong, f"{len(wrong)} of {len(recorded)}: " + "; ".join(wrong[:3])


# --- autoencoder ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["art", "shoe"])
def test_autoencoder_steps(ae, ae_steps, kind):
    tensors, scalars = known.recorded(f"train_ae_{kind}")
    seed, shoe = {"art": 21, "shoe": 22}[kind], kind == "shoe"
    nets = recorded_autoencoder(ae, ae_steps)
    linear = nets.style.final_cls[1]
    with torch.no_grad():  # the classifier's new start, as recorded
        for name, value, limit in (("weight", linear.weight, 1 / 8), ("bias", linear.bias, 0.1 / 8)):
            value.copy_(known.uniform(f"reset1.{name}", seed, value.shape, -limit, limit))
    optimisers = ae_steps.ae_optimisers(nets)
    drawn = iter([torch.tensor(order) for _, order in scalars["perm_log_in_call_order"]])
    chosen = iter([choice for _, _, choice in scalars["randint_log"]])
    for i in range(len(scalars["loop_indices"])):
        batch = ae_steps.SelfBatch(
            known.grown(tensors[f"ss{i}.rgb_rd"]),
            known.grown(tensors[f"ss{i}.rgb_org"]),
            tuple(known.grown(tensors[f"ss{i}.skt_{name}"]) for name in SKETCHES),
            tensors[f"ss{i}.idx"],
        )
        draws = ae_steps.SelfDraws(
            next(chosen), [[next(drawn) for _ in range(3)] for _ in range(3)], [next(drawn) for _ in range(3)]
        )
        found, _ = ae_steps.ae_self_step(nets, optimisers, [(batch, draws)], stub, pixels=shoe)
        known_losses = {name: values[i] for name, values in scalars["losses"].items() if values}
        assert float(found["style"]) == pytest.approx(known_losses["style_consist"], rel=1e-6)
        assert float(found["content"]) == pytest.approx(known_losses["content_consist"], rel=1e-6)
        assert float(found["class"]) == pytest.approx(known_losses["cls"], rel=1e-6)
        rest = float(found["pixels"] + found["absolute" if shoe else "perceptual"])
        assert rest == pytest.approx(known_losses["rec_rd"], rel=1e-6)

        picture, sketch = pairs(tensors, i, next(chosen))
        order = next(drawn) if shoe else None
        pair = ae_steps.PairBatch(picture, sketch)
        found, image = ae_steps.ae_pair_step(nets, optimisers, [(pair, order)], stub, pixels=shoe)
        rest = float(found["pixels"] + found["grey" if shoe else "perceptual"])
        assert rest == pytest.approx(known_losses["rec_org"], rel=1e-6)
        assert not shoe or float(found["grey"]) == pytest.approx(known_losses["rec_grey"], rel=1e-6)
        assert image.shape == picture.shape
        all_agree(dict(zip(("s.", "c.", "d."), nets, strict=True)), scalars["weights_after"][i])
    after = {f"{p}.{k}": v for p, net in zip("scd", nets, strict=True) for k, v in net.state_dict().items()}
    for name, value in tensors.items():
        if name.startswith("after_last."):
            assert (after[name.removeprefix("after_last.")] - value.double()).abs().max() < 1e-6


def small_autoencoder(ae, ae_steps, seed=0, size=128):
    torch.manual_seed(seed)
    return ae_steps.Autoencoder(
        ae.StyleEncoder(width=8, classes=4, spectral=True),
        ae.ContentEncoder(width=8, spectral=True),
        ae.Decoder(width=8, size=size, spectral=True),
    )


def small_batch(ae_steps, count=4, seed=1, side=128):
    generator = torch.Generator().manual_seed(seed)

    def picture(channels):
        return torch.rand(count, channels, side, side, generator=generator) * 2 - 1

    sketches = tuple(picture(1).sign() for _ in range(4))
    return ae_steps.SelfBatch(picture(3), picture(3), sketches, torch.arange(count) % 4)


def test_batches_of_one_are_refused(ae, ae_steps, gan, gan_steps):
    nets, batch = small_autoencoder(ae, ae_steps), small_batch(ae_steps, 1)
    pair = ae_steps.PairBatch(batch.original, batch.sketches[0])
    with pytest.raises(ValueError, match="batch size must be 2 or more"):
        ae_steps.ae_pair_step(nets, ae_steps.ae_optimisers(nets), [(pair, None)], stub)
    network, judge = gan.refiner("art", width=8, size=128, spectral=True), gan.Discriminator(width=8, size=128)
    optimisers = ae_steps.adam(network.parameters()), ae_steps.adam(judge.parameters())
    draws = gan_steps.draw_gan(network, 1, torch.Generator())
    with pytest.raises(ValueError, match="batch size must be 2 or more"):
        gan_steps.gan_step(nets, network, judge, optimisers, [(pair, draws)], stub)


def test_learning_from_pairs(ae, ae_steps):
    """A few steps at 128 pixels bring the picture nearer, in one piece and in bfloat16."""
    for dtype in (None, torch.bfloat16):
        nets = small_autoencoder(ae, ae_steps)
        optimisers = ae_steps.ae_optimisers(nets)
        batch = small_batch(ae_steps, 2)
        pair = ae_steps.PairBatch(batch.original.mean((2, 3), keepdim=True).expand(-1, -1, 128, 128), batch.sketches[0])
        seen = []
        for _ in range(8):
            found, image = ae_steps.ae_pair_step(nets, optimisers, [(pair, None)], stub, dtype=dtype)
            seen.append(float(found["pixels"]))
            assert found["pixels"].dtype == torch.float32
        assert seen[-1] < 0.8 * seen[0], seen
        assert torch.isfinite(image).all()


def test_pieces_average_means_and_add_sums(ae, ae_steps):
    """Two pieces of the same pictures: means stay, the perceptual sum doubles, one optimiser step is taken."""
    whole, parted = (small_autoencoder(ae, ae_steps) for _ in range(2))
    batch = small_batch(ae_steps, 2)
    pair = (ae_steps.PairBatch(batch.original, batch.sketches[0]), None)
    one, _ = ae_steps.ae_pair_step(whole, ae_steps.ae_optimisers(whole), [pair], stub)
    optimisers = ae_steps.ae_optimisers(parted)
    two, _ = ae_steps.ae_pair_step(parted, optimisers, [pair, pair], stub)
    assert float(two["pixels"]) == pytest.approx(float(one["pixels"]), rel=1e-3)
    assert float(two["perceptual"]) == pytest.approx(2 * float(one["perceptual"]), rel=1e-3)
    assert all(int(state["step"]) == 1 for state in optimisers.decoder.state.values())


def test_next_pictures_start_a_new_classifier(ae, ae_steps):
    nets = small_autoencoder(ae, ae_steps)
    first = ae_steps.ae_optimisers(nets)
    held = [value.clone() for value in nets.style.final_cls.parameters()]
    second = ae_steps.next_pictures(nets, first, torch.Generator().manual_seed(3))
    assert second.classifier is not first.classifier
    assert not any(map(torch.equal, held, nets.style.final_cls.parameters()))
    assert float(nets.style.final_cls[1].weight.detach().abs().max()) <= 1 / 8
    assert float(nets.style.final_cls[1].bias.detach().abs().max()) <= 0.1 / 8
    rates = {name: getattr(second, name).param_groups[0]["lr"] for name in second._fields}
    assert rates == {"style": 1e-4, "decoder": 1e-4, "content": 2e-4, "classifier": 2e-4}
    in_style = {id(value) for group in second.style.param_groups for value in group["params"]}
    assert not in_style & {id(value) for value in nets.style.final_cls.parameters()}


def test_leak_term_moves_the_content_encoder_alone(ae, ae_steps):
    """Our mutual-information term: the guess learns, content is pushed, style and decoder are not; weight 0 is off."""
    batch = small_batch(ae_steps, 3)
    draws = ae_steps.draw_self(3, torch.Generator().manual_seed(0))
    after = {}
    for weight in (None, 0.0, 5.0):
        nets = small_autoencoder(ae, ae_steps)
        torch.manual_seed(9)
        guess = ae.StyleGuess(width=8, hidden=16)
        before = guess.net[0].weight.detach().clone()
        slow = ae.StyleEncoder(width=8, spectral=True).eval()
        leak = (
            None
            if weight is None
            else ae_steps.MutualInformation(guess, ae_steps.adam(guess.parameters()), slow, weight)
        )
        found, _ = ae_steps.ae_self_step(
            nets, ae_steps.ae_optimisers(nets), [(batch, draws)], stub, mutual_information=leak
        )
        assert ("leak" in found) == (weight is not None)
        assert torch.equal(before, guess.net[0].weight) == (weight is None)
        after[weight] = [{k: v.clone() for k, v in net.state_dict().items()} for net in nets]
    for i, moved in ((0, False), (1, True), (2, False)):
        for weight, other in ((0.0, False), (5.0, moved)):
            same = all(
                torch.equal(a, b) for a, b in zip(after[None][i].values(), after[weight][i].values(), strict=True)
            )
            assert same != other, (i, weight)


def test_draws(ae_steps):
    draws = ae_steps.draw_self(4, torch.Generator().manual_seed(5))
    again = ae_steps.draw_self(4, torch.Generator().manual_seed(5))
    assert 0 <= draws.which < 4
    assert [len(row) for row in draws.content] == [3, 3, 3]
    assert all(torch.equal(a, b) for a, b in zip(draws.style, again.style, strict=True))
    with pytest.raises(ValueError, match="batch size"):
        ae_steps.draw_self(1, torch.Generator())
    generator = torch.Generator().manual_seed(0)
    counts = torch.bincount(torch.tensor([ae_steps.draw_set(3, generator) for _ in range(4000)]), minlength=3) / 4000
    assert counts.tolist() == pytest.approx([0.25, 0.25, 0.5], abs=0.03)
    ten = {ae_steps.draw_set(10, generator) for _ in range(400)}
    assert ten == set(range(10))
    assert {ae_steps.draw_set(1, generator) for _ in range(20)} == {0}


# --- GAN --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["art", "face"] if SLOW else ["art"])
def test_gan_steps(ae, ae_steps, gan, gan_steps, kind):
    tensors, scalars = known.recorded(f"train_gan_{kind}")
    seed = {"art": 31, "face": 33}[kind]
    nets = recorded_autoencoder(ae, ae_steps)
    generator = known.fill(gan.refiner(kind, width=8, spectral=True), "g.", seed)
    discriminator = known.fill(gan.Discriminator(width=8), "id.", seed)
    averaged = [value.detach().clone() for value in generator.parameters()]
    optimisers = ae_steps.adam(generator.parameters()), ae_steps.adam(discriminator.parameters())
    assert [name for name, _ in generator.named_parameters()] == scalars["parameters_order"]
    before = {key: value.clone() for net in nets for key, value in net.state_dict().items()}

    shapes = [tuple(shape) for shape in scalars["noise_shapes_in_call_order"]]
    calls = generator.noise_shapes(2)
    first = len(shapes) - len(scalars["loop_indices"]) * len(calls)  # those before are of the networks' making
    assert shapes[first:] == calls * len(scalars["loop_indices"])
    draws = iter(scalars["randint_log"])
    for i in range(len(scalars["loop_indices"])):
        noise = [known.noise(first + i * len(calls) + k, seed, shape) for k, shape in enumerate(calls)]
        picture, sketch = pairs(tensors, i, next(draws)[2])
        flips = torch.tensor([[next(draws)[2], next(draws)[2]]] * 2).bool() if kind == "face" else None
        piece = (ae_steps.PairBatch(picture, sketch), gan_steps.GANDraws(noise, flips))
        found, image = gan_steps.gan_step(nets, generator, discriminator, optimisers, [piece], stub, averaged=averaged)
        meters, judged = scalars["meters"], scalars["d_losses"][i]
        assert float(found["discriminator"]) == pytest.approx(judged["loss"], rel=1e-6)
        assert float(found["real"]) == pytest.approx(judged["real"][0], rel=1e-6)
        assert float(found["fake"]) == pytest.approx(judged["fake"], rel=1e-6)
        assert float(found["adversarial"]) == pytest.approx(scalars["g_adv_losses"][i], rel=1e-6)
        name = "mse_over_batchsize(10*percept sum or shoe l1+mse)/bs"
        assert float(found["perceptual"]) / 2 == pytest.approx(meters[name][i], rel=1e-6)
        draft, _ = nets.drafts(sketch, picture)
        off = float((draft - picture).square().mean() + (draft - picture).abs().mean())
        assert off == pytest.approx(meters["rec_ae(mse+l1 of AE image)"][i], rel=1e-6)
        all_agree({"ig.": generator, "id.": discriminator}, scalars["weights_after"][i])
        for value, expected in zip(averaged, scalars["ema_after_in_parameters_order"][i], strict=True):
            assert known.checks(value) == pytest.approx(expected, rel=1e-7, abs=1e-8 * expected[1] + 1e-12)
        assert image.shape == picture.shape
    after = {key: value for net in nets for key, value in net.state_dict().items()}
    assert all(torch.equal(value, after[key]) for key, value in before.items()), "the autoencoder stays as it is"


@pytest.mark.parametrize(("kind", "size"), [("art", 128), ("shoe", 128), ("face", 128), ("art", 256)])
def test_gan_steps_of_other_kinds_and_sizes(ae, ae_steps, gan, gan_steps, kind, size):
    """In one piece and in two, in bfloat16; every parameter that is used gets a gradient."""
    nets = small_autoencoder(ae, ae_steps, size=size)
    for net in nets:
        net.eval().requires_grad_(False)
    torch.manual_seed(0)
    generator = gan.refiner(kind, width=8, size=size, spectral=True)
    discriminator = gan.Discriminator(width=8, size=size)
    random = torch.Generator().manual_seed(2)
    batch = small_batch(ae_steps, 2, side=size)
    optimisers = ae_steps.adam(generator.parameters()), ae_steps.adam(discriminator.parameters())
    for pieces in (1, 2):
        given = [
            (ae_steps.PairBatch(batch.original, batch.sketches[0]), gan_steps.draw_gan(generator, 2, random))
            for _ in range(pieces)
        ]
        before = [value.detach().clone() for value in generator.parameters()]
        found, image = gan_steps.gan_step(
            nets, generator, discriminator, optimisers, given, stub, averaged=before, dtype=torch.bfloat16
        )
        assert all(torch.isfinite(value) for value in found.values())
        assert image.shape == (2, 3, size, size)
    unused = {name for name, value in generator.named_parameters() if value.grad is None}
    assert all(name.startswith(("bs_", "from_style", "style_")) for name in unused)
    assert bool(unused) == (kind == "shoe")
    assert not any(value.grad is None for value in discriminator.parameters())


def test_flips_of_a_training_batch_go_together(room, gan, gan_steps):
    network = gan.refiner("face", width=8, size=128)
    random = torch.Generator().manual_seed(0)
    flips = torch.stack([gan_steps.draw_gan(network, 3, random).flips for _ in range(40)])
    assert (flips == flips[:, :1]).all()
    assert len({tuple(row.tolist()) for row in flips[:, 0]}) == 4
    noise, own = room("pipelines.sketchgan").draw_noise(network, 3, torch.Generator().manual_seed(1))
    assert [tuple(x.shape) for x in noise] == network.noise_shapes(3)
    assert own.shape == (3, 2)


# --- sketch extractor -------------------------------------------------------------------------------------------------


def test_tom_steps(room, ae_steps, extractor_steps, tom):
    tensors, scalars = known.recorded("train_tom_im128")
    stages = ((8, 8), (16, 16), (32, 32, 32), (64, 64, 64), (64, 64, 64))
    vgg = known.fill(room("networks.vgg").VGG(widths=stages), "vgg.", 14, 1.4).requires_grad_(False)
    generator = known.fill(tom.Generator(channels=32, width=16, spectral=True), "g.", 14)
    judge = known.fill(tom.StyleDiscriminator(channels=48), "ds.", 14)
    optimisers = tuple(ae_steps.adam(net.parameters(), 0.99) for net in (generator, judge))
    for i in range(3):
        photo, sketch = (known.grown(tensors[f"{name}{i}"], 128) for name in ("content", "sketch"))
        look = partial(tom.taps, vgg, size=128)
        found, drawn = extractor_steps.tom_step(generator, judge, optimisers, photo, sketch, look)
        content, *textures = (value for _, value in scalars["mse_calls"][4 * i : 4 * i + 4])
        assert float(found["content"]) == pytest.approx(0.2 * content, rel=1e-6)
        assert float(found["texture"]) == pytest.approx(2000 * sum(textures), rel=1e-6)
        all_agree({"g.": generator, "ds.": judge}, scalars["checks_after_each_iteration"][i])
        assert drawn.shape == photo.shape
    after = {f"{p}.{k}": v for p, net in (("g", generator), ("ds", judge)) for k, v in net.state_dict().items()}
    for name, value in tensors.items():
        if name.startswith("after."):
            assert (after[name.removeprefix("after.")] - value.double()).abs().max() < 1e-6


def test_tom_looks_through_the_packs_feature_network(room, extractor_steps, ae_steps, tom):
    """Any VGG of five stages serves, without ever being changed; others are refused."""
    from types import SimpleNamespace

    features = room("pictures.features").features
    torch.manual_seed(0)
    vgg = room("networks.vgg").VGG(widths=((4,), (8,), (12,), (16,), (16,))).eval().requires_grad_(False)
    held = SimpleNamespace(model=vgg)
    frozen = extractor_steps.five_taps(features("vgg", held), 64)
    look = frozen.prepare("cpu")
    generator = tom.Generator(channels=12, width=8, spectral=True)
    judge = tom.StyleDiscriminator(channels=24)
    optimisers = tuple(ae_steps.adam(net.parameters(), 0.99) for net in (generator, judge))
    before = [value.clone() for value in vgg.parameters()]
    photo, sketch = torch.rand(2, 3, 64, 64) * 2 - 1, torch.ones(2, 3, 64, 64)
    found, drawn = extractor_steps.tom_step(generator, judge, optimisers, photo, sketch, look, dtype=torch.bfloat16)
    assert all(torch.isfinite(value) for value in found.values())
    assert drawn.shape == photo.shape
    assert all(map(torch.equal, before, vgg.parameters()))
    short = room("networks.vgg").VGG(widths=((4,), (8,))).eval()
    with pytest.raises(ValueError, match="five maps of a VGG"):
        extractor_steps.five_taps(features("vgg", SimpleNamespace(model=short)), 64)


# --- what all share ---------------------------------------------------------------------------------------------------


def test_followers(room):
    follow = room("training.weights").follow
    kept, moving = [torch.ones(2)], [nn.Parameter(torch.zeros(2))]
    follow(kept, moving)
    assert kept[0].tolist() == pytest.approx([0.999, 0.999])
    follow(kept, moving, 0.5)
    assert kept[0].tolist() == pytest.approx([0.4995, 0.4995])
