"""SDEdit's claims on the starter world, a part of `python3 dev/run.py evidence`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from evidence.page import Page, Store, weights_of
from runtime import inprocess, machine
from runtime.provision import say

PACK = inprocess.PACK
HELD_OUT = 10_000_000  # training draws its scenes from the seeds below
SIZE = 64
BATCH = 25
STEPS = 25
T0_OF_K = 0.4
SET_SAMPLER = "dpmpp_2m_sde"  # whole pictures from noise, on Karras levels
SET_START = 0.85  # as t0: half a percent of signal. Higher up an eps network's small errors are multiplied by up to 157
WALK_SAMPLER = "ddpm"  # SDEdit's own steps
WEIGHTS = PACK / "starter" / "weights" / "prior.safetensors"
DECIDES = ("host.py", "nodes/sdedit.py", "nodes/priors.py", "networks/*.py", "samplers/*.py", "starter/world.py")
DECIDES += ("starter/noise.py", "pictures/painters.py", WEIGHTS.relative_to(PACK).as_posix())


class Plan(NamedTuple):
    """How much is measured."""

    samples: int
    sets: int
    strokes: int
    t0s: tuple[float, ...]
    repeats: tuple[int, ...]
    native: int
    edits: int
    calibrate: bool
    cases: int


class Lab:
    """The starter prior in the host, and the pack's nodes to walk with."""

    def __init__(self) -> None:
        priors = inprocess.room("nodes.priors")
        loaded = priors.SketchPriorLoader.execute(priors.STARTER, 64, 4, "legacy", 0, "auto")
        self.model, self.vae, _ = loaded.args
        (self.label,) = priors.SketchPriorLabel.execute(-1).args
        self.doors = inprocess.room("nodes.sdedit")

    def walk(
        self,
        guide: Any,
        t0: float,
        seed: int,
        *,
        steps: int = STEPS,
        sampler: Any = WALK_SAMPLER,
        repeats: int = 1,
        model: Any = None,
    ) -> Any:
        """SDEdit on a LATENT: NoiseToT0, a SAMPLER (or its name), SketchRepeatSampler, SamplerCustom, VAE decode."""
        from comfy.samplers import sampler_object

        sigmas = self.doors.NoiseToT0.execute(self.model, guide, t0, "published noise level", steps, seed).args[0]
        steps_with = sampler_object(sampler) if isinstance(sampler, str) else sampler
        (repeated,) = self.doors.SketchRepeatSampler.execute(steps_with, repeats).args
        return self.sample(guide, sigmas, repeated, seed, model)

    def from_noise(self, count: int, seed: int) -> Any:
        """Whole pictures: the host's KarrasScheduler from SET_START down, on an empty LATENT."""
        import torch
        from comfy.samplers import sampler_object
        from comfy_extras.nodes_custom_sampler import KarrasScheduler

        empty = {"samples": torch.zeros(count, 3, SIZE, SIZE)}
        start = self.doors.NoiseToT0.execute(self.model, empty, SET_START, "published noise level", 1, 0).args[0][0]
        (sigmas,) = KarrasScheduler.execute(STEPS, start.item(), 0.01, 7.0).args
        return self.sample(empty, sigmas, sampler_object(SET_SAMPLER), seed)

    def sample(self, latent: dict[str, Any], sigmas: Any, sampler: Any, seed: int, model: Any = None) -> Any:
        """SamplerCustom on the prior (or a patched `model`) and VAE decode."""
        return self.vae.decode(self.sample_latent(latent, sigmas, sampler, seed, model)["samples"]).cpu()

    def sample_latent(self, latent: dict[str, Any], sigmas: Any, sampler: Any, seed: int, model: Any = None) -> Any:
        from comfy_extras.nodes_custom_sampler import SamplerCustom

        model = model or self.model
        return SamplerCustom.execute(model, True, seed, 1.0, self.label, self.label, sampler, sigmas, latent).args[0]

    def encode(self, pictures: Any) -> dict[str, Any]:
        return {"samples": self.vae.encode(pictures)}


class Scenes(NamedTuple):
    """Held-out scenes of the starter world: photos and strokes [N,H,W,3] in [0,1], sky [N,H,W] of 0 and 1."""

    photos: Any
    strokes: Any
    sky: Any


def render(store: Store, name: str, first_seed: int, count: int) -> Any:
    world = inprocess.room("starter.world").World(SIZE)
    return store.get(name, count, lambda a, b: _stack([world.render(first_seed + i).image for i in range(a, b)]), 250)


def scenes(store: Store, count: int) -> Scenes:
    starter = inprocess.room("starter.world")
    world, first = starter.World(SIZE), HELD_OUT + 100_000
    above = (starter.SKY, starter.CLOUD, starter.SUN, starter.MOON)

    def sky(a: int, b: int) -> Any:
        import numpy as np

        labels = [world.render(first + i).labels for i in range(a, b)]
        return _stack([np.isin(one, above)[..., None] * 255 for one in labels])

    strokes = store.get("strokes", count, lambda a, b: _stack([world.render(first + i).strokes for i in range(a, b)]))
    return Scenes(render(store, "photos", first, count), strokes, store.get("sky", count, sky)[..., 0])


def _stack(pictures: list) -> Any:
    import numpy as np
    import torch

    return torch.from_numpy(np.stack(pictures)).float() / 255


# --- the four claims --------------------------------------------------------------------------------------------------


def prior_quality(lab: Lab, store: Store, plan: Plan, page: Page) -> Any:
    """(a) Distance of samples to renders over the distance of renders to renders. Returns the first set of renders."""
    import torch

    measures = inprocess.room("pictures.measures")
    n = plan.samples
    sets = [render(store, f"renders {i}", HELD_OUT + i * n, n) for i in range(plan.sets)]
    samples = store.get("samples", n, lambda a, b: lab.from_noise(b - a, a), batch=2 * BATCH)
    say("  measuring")
    mine = [measures.patch_distance(samples, one) for one in sets]
    pairs = [(a, b) for i, a in enumerate(sets) for b in sets[i + 1 :]]
    floor = [measures.patch_distance(b, a) for a, b in pairs]
    ours, theirs = (torch.stack([d.levels for d in found]).mean(0) for found in (mine, floor))
    ratio = (ours.mean() / theirs.mean()).item()
    single = [m.mean / f.mean for m in mine for f in floor]
    names = mine[0].names
    page.numbers["distance ratio"] = ratio

    page.text(
        f"## The prior: {ratio:.2f} times the distance between renders",
        f"{n:,} pictures sampled from noise ({STEPS} steps, `{SET_SAMPLER}`, Karras levels from t0 {SET_START} down), "
        f"compared with {plan.sets} disjoint sets of {n:,} held-out renders: the mean distance over the sets, divided "
        f"by the mean over the {len(pairs)} pairs of render sets (individual ratios range from {min(single):.2f} to "
        f"{max(single):.2f}).",
        "The distance is the sliced Wasserstein distance of 7x7 patches on a Laplacian pyramid (Karras et al. 2018), "
        "standardised by the renders, with an extra level for the overall layout (`pictures/measures.py`). Unit: "
        "standard deviations of the renders.",
    )
    rows = {"samples to renders": ours, "renders to renders": theirs}
    page.table(
        ["", *names, "mean"],
        [
            *[[name, *levels.tolist(), levels.mean().item()] for name, levels in rows.items()],
            ["ratio", *(ours / theirs).tolist(), ratio],
        ],
    )
    if plan.calibrate:
        page.text("The same measure for known faults, each applied to all renders of one set:")
        fresh = sets[1]
        faults = [(name, measures.patch_distance(fault(fresh), sets[0]).mean) for name, fault in FAULTS.items()]
        page.table(["fault", "times renders to renders"], [[k, v / theirs.mean().item()] for k, v in faults])
    shown = min(24, n)
    page.sheet("samples", [*sets[0][:shown], *samples[:shown]], columns=8, rows=_halves(shown, "renders", "samples"))
    return sets[0]


def t0_sweep(lab: Lab, store: Store, plan: Plan, page: Page, known: Scenes, references: Any) -> None:
    """(b) Further from the strokes and nearer to renders as t0 grows."""
    n = plan.strokes
    results = {
        t0: store.get(f"t0 {t0}", n, lambda a, b, t0=t0: lab.walk(lab.encode(known.strokes[a:b]), t0, HELD_OUT + a))
        for t0 in plan.t0s
    }
    say("  measuring")
    rows = {t0: judge(pictures, known.strokes, references) for t0, pictures in results.items()}
    untouched, photos = (judge(p, known.strokes, references) for p in (known.strokes, known.photos))
    page.numbers["t0"] = {str(t0): row._asdict() for t0, row in rows.items()}
    page.text(
        "## t0: from faithful to realistic",
        f"{n} stroke paintings of held-out renders (median filter and six colours, as published), `{WALK_SAMPLER}`, "
        f"{STEPS} steps on the grid of Noise to t0. L2 is the norm of the difference from the strokes over all "
        f"{SIZE}x{SIZE}x3 values in [0,1], as in the paper (for the same rms it is 4 times as large at 256x256). "
        f"Distance to renders: as above, to {len(references):,} renders of other scenes. Realism: median score of the "
        "individual pictures; 1 is the score of a render.",
    )
    page.verdict(list(rows.values()), "t0")
    lines = [["strokes", *untouched], *[[f"t0 {t0}", *row] for t0, row in rows.items()], ["their photos", *photos]]
    page.table(["", *HEADS], lines)
    along = list(zip([0.0, *rows], [untouched, *rows.values()], strict=True))
    page.curves(
        "t0",
        "t0 (0 = the strokes themselves)",
        [
            ("Distance to the strokes", "L2", [(x, row.l2) for x, row in along], []),
            (
                "Distance to renders",
                "sliced Wasserstein, sd",
                [(x, row.distance) for x, row in along],
                [("the strokes' own photos", photos.distance)],
            ),
        ],
    )
    shown = min(8, n)
    pictures = [*known.photos[:shown], *known.strokes[:shown], *[p for r in results.values() for p in r[:shown]]]
    page.sheet("t0_examples", pictures, columns=shown, rows=["photo", "strokes", *[f"t0 {t0}" for t0 in results]])


def repeats(lab: Lab, store: Store, plan: Plan, page: Page, known: Scenes, references: Any) -> None:
    """(b, continued) The same for K."""
    n = plan.strokes
    results = {
        k: store.get(
            f"K {k}" if k > 1 else f"t0 {T0_OF_K}",
            n,
            lambda a, b, k=k: lab.walk(lab.encode(known.strokes[a:b]), T0_OF_K, HELD_OUT + a, repeats=k),
        )
        for k in plan.repeats
    }
    rows = {k: judge(pictures, known.strokes, references) for k, pictures in results.items()}
    photos = judge(known.photos, known.strokes, references)
    page.numbers["K"] = {str(k): row._asdict() for k, row in rows.items()}
    page.text("## K: repeats", f"The same strokes at t0 {T0_OF_K}, sampled K times with Repeat Sampler.")
    page.verdict(list(rows.values()), "K")
    page.table(["", *HEADS], [[f"K = {k}", *row] for k, row in rows.items()])
    page.curves(
        "k",
        "K (walks in a row)",
        [
            ("Distance to the strokes", "L2", [(i, row.l2) for i, row in enumerate(rows.values())], []),
            (
                "Distance to renders",
                "sliced Wasserstein, sd",
                [(i, row.distance) for i, row in enumerate(rows.values())],
                [("the strokes' own photos", photos.distance)],
            ),
        ],
        x_names=tuple(str(k) for k in rows),
    )
    shown = min(8, n)
    pictures = [*known.strokes[:shown], *[p for r in results.values() for p in r[:shown]]]
    page.sheet("k_examples", pictures, columns=shown, rows=["strokes", *[f"K = {k}" for k in results]])


def published_steps(lab: Lab, store: Store, plan: Plan, page: Page, known: Scenes, references: Any) -> None:
    """(c) Every native level once, as published, beside 25 steps."""
    n, results = plan.native, {}
    for steps, name in ((STEPS, f"{STEPS} steps"), (0, f"{round(1000 * T0_OF_K)} steps, as published")):

        def make(a: int, b: int, steps: int = steps) -> Any:
            return lab.walk(lab.encode(known.strokes[a:b]), T0_OF_K, HELD_OUT + a, steps=steps)

        results[name] = store.get(f"steps {steps}", n, make)
    page.text(
        "## Every native level",
        f"{n} of the stroke paintings at t0 {T0_OF_K} with all of the model's 1000 levels below it, as published, "
        f"compared with {STEPS} steps. These are too few pictures for a distance between sets; the numbers are means "
        "over pictures.",
    )
    measures = inprocess.room("pictures.measures")
    page.table(
        ["", "L2 to strokes", "realism", "seconds per picture"],
        [
            [
                name,
                measures.faithfulness(pictures, known.strokes[:n]).l2.mean().item(),
                measures.realism(pictures, references).mean().item(),
                store.seconds[f"steps {steps}"] / n,
            ]
            for (name, pictures), steps in zip(results.items(), (STEPS, 0), strict=True)
        ],
    )
    pictures = [*known.strokes[:n], *[p for r in results.values() for p in r]]
    page.sheet("steps_examples", pictures, columns=n, rows=["strokes", *results])


def editing(lab: Lab, store: Store, plan: Plan, page: Page, known: Scenes) -> None:
    """(d) Pixels outside the mask are the photo's, as 8-bit values."""
    n = plan.edits
    photos, sky = known.photos[:n], known.sky[:n]
    guides = (known.strokes.roll(1, 0)[:n] * sky[..., None]) + photos * (1 - sky[..., None])
    (published,) = lab.doors.SketchSDESampler.execute("small", "published").args
    runs = {
        f"`{WALK_SAMPLER}`, kept by the host": (WALK_SAMPLER, 1),
        f"`{WALK_SAMPLER}`, K = 3": (WALK_SAMPLER, 3),
        "SDE Sampler, kept as published": (published, 1),
    }
    rows, results = [], {}
    for number, (name, (sampler, count)) in enumerate(runs.items()):

        def make(a: int, b: int, sampler: Any = sampler, count: int = count) -> Any:
            latent = {**lab.encode(guides[a:b]), "noise_mask": sky[a:b, None]}
            return lab.walk(latent, 0.5, HELD_OUT + a, sampler=sampler, repeats=count)

        results[name] = result = store.get(f"edit {number}", n, make)
        kept = sky == 0
        different = ((result * 255).round() != (photos * 255).round()).any(-1)
        inside = inprocess.room("pictures.measures").faithfulness(result, photos, sky).rms.mean().item()
        rows.append([name, f"{int(kept.sum()):,}", f"{int((different & kept).sum()):,}", inside])
        page.numbers.setdefault("kept pixels changed", {})[name] = int((different & kept).sum())
    page.text(
        "## Editing: pixels outside the mask stay",
        f"{n} photos whose sky is painted over with another scene's strokes, with the sky as mask (1 = edit), t0 0.5, "
        f"{STEPS} steps. Kept pixels are compared with the photo as 8-bit values, in all three channels.",
    )
    page.table(["", "kept pixels", "of which changed", "change inside the mask (rms)"], rows)
    shown = min(8, n)
    first = next(iter(results.values()))
    page.sheet(
        "edit_examples",
        [*photos[:shown], *guides[:shown], *first[:shown]],
        columns=shown,
        rows=["photo", "new sky in strokes", "result"],
    )


class Row(NamedTuple):
    """One line of a table of results."""

    l2: float
    rms: float
    palette: float
    distance: float
    realism: float


HEADS = ("L2 to strokes", "rms", "palette", "distance to renders", "realism")


def judge(pictures: Any, strokes: Any, references: Any) -> Row:
    measures = inprocess.room("pictures.measures")
    faithful = measures.faithfulness(pictures, strokes)
    return Row(
        faithful.l2.mean().item(),
        faithful.rms.mean().item(),
        measures.palette_distance(pictures, strokes).mean().item(),
        measures.patch_distance(pictures, references).mean,
        measures.realism(pictures, references).median().item(),
    )


def _blurred(pictures: Any, sigma: float) -> Any:
    import torch
    import torch.nn.functional as F

    kernel = torch.exp(-(torch.arange(-4, 5.0) ** 2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    planes = F.pad(pictures.movedim(-1, 1).flatten(0, 1)[:, None], (4,) * 4, mode="reflect")
    planes = F.conv2d(F.conv2d(planes, kernel[None, None, :, None]), kernel[None, None, None, :])
    return planes[:, 0].unflatten(0, (len(pictures), 3)).movedim(1, -1)


def _noisy(pictures: Any, levels: float) -> Any:
    import torch

    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1))
    return (pictures + noise * levels / 255).clamp(0, 1)


FAULTS: dict[str, Callable[[Any], Any]] = {
    "none (another set of renders)": lambda p: p,
    "blurred, sigma 0.5 px": lambda p: _blurred(p, 0.5),
    "blurred, sigma 1 px": lambda p: _blurred(p, 1.0),
    "noise of 4 grey levels": lambda p: _noisy(p, 4),
    "noise of 8 grey levels": lambda p: _noisy(p, 8),
    "red channel up by 16 of 255": lambda p: p + p.new_tensor([16 / 255, 0, 0]),
    "contrast 0.9": lambda p: (p - 0.5) * 0.9 + 0.5,
    "shifted by half a picture, wrapped around": lambda p: p.roll((SIZE // 2, SIZE // 2), (1, 2)),
    "upside down": lambda p: p.flip(1),
    "only 100 different pictures": lambda p: p[:100].repeat(-(-len(p) // 100), 1, 1, 1)[: len(p)],
}


def _halves(shown: int, first: str, second: str) -> list[str]:
    rows = -(-shown // 8)
    return [first, *[""] * (rows - 1), second]


def weights_line() -> str:
    notes, size, short = weights_of(WEIGHTS)
    seen = notes.get("images_seen", "an unknown number of")
    return f"Starter prior: {size / 1e6:.1f}M parameters, {seen} images seen, sha256 {short}..."


def sdedit(lab: Lab, plan: Plan, page: Page, fresh: bool) -> None:
    """SDEdit's part: the prior itself, t0, K, the published number of steps, editing."""
    settings = (plan, BATCH, STEPS, T0_OF_K, SET_SAMPLER, SET_START, WALK_SAMPLER)
    store = Store("evidence", settings, DECIDES)
    if fresh:
        store.forget()
    say(f"batches are kept in {store.folder}")
    page.text(f"Machine: {machine.describe()}.", weights_line() + ".")
    say("the prior")
    references = prior_quality(lab, store, plan, page)
    known = scenes(store, max(plan.strokes, plan.edits))
    strokes = Scenes(*(part[: plan.strokes] for part in known))
    say("t0")
    t0_sweep(lab, store, plan, page, strokes, references)
    say("K")
    repeats(lab, store, plan, page, strokes, references)
    say("every native level")
    published_steps(lab, store, plan, page, strokes, references)
    say("editing")
    editing(lab, store, plan, page, known)
    page.text(f"Rendering and sampling took {sum(store.seconds.values()) / 60:.1f} minutes on this machine.")
