"""Regions: their masks on token grids, their words in prompts, their colours in paintings."""

from __future__ import annotations

import time

import pytest
import torch

START, END, PAD = 90, 91, 92
SPECIAL = {START, END, PAD}


@pytest.fixture(scope="module")
def regions(room):
    return room("guidance.regions.regions")


@pytest.fixture(scope="module")
def palettes(room):
    return room("pictures.palettes")


def tokenize(prompt, size=8):
    """A word tokenizer with weights and chunks of `size`, in the form of clip.tokenize: letters are tokens."""
    words = prompt.replace(",", " ,").split()
    room_for = size - 2
    parts = [words[i : i + room_for] for i in range(0, len(words), room_for)] or [[]]
    chunks = []
    for part in parts:
        tokens = [START, *(sum(map(ord, word)) + 100 for word in part), END]
        chunks.append([(token, 1.0) for token in tokens + [PAD] * (size - len(tokens))])
    return {"l": chunks}


def half(side=8):
    mask = torch.zeros(1, side, side)
    mask[:, :, : side // 2] = 1
    return mask


def names(regions, prompt, phrase, size=8):
    return regions.find(regions.tokens_of(tokenize(prompt, size)), regions.tokens_of(tokenize(phrase, size)), SPECIAL)


def test_words_are_found_wherever_they_stand(regions):
    assert names(regions, "a lake , a tree", "lake") == (2,)
    assert names(regions, "red tree and red lake", "red lake") == (4, 5)
    assert names(regions, "tree lake tree", "tree") == (1, 3)
    assert names(regions, "tree tree tree", "tree tree") == (1, 2, 3)
    assert names(regions, "lake", "tree") == ()
    assert names(regions, "lake", "") == ()


def test_a_phrase_goes_on_in_the_next_chunk(regions):
    """Six words a chunk; tokens 6 and 9 belong together, between them an end and a start."""
    assert names(regions, "a b c d e snowy mountain f", "snowy mountain") == (6, 9)


def test_learnt_vectors_have_names(regions):
    vector, other = torch.rand(16), torch.rand(16)
    prompt = regions.tokens_of({"l": [[(START, 1.0), (vector, 1.2), (7, 1.0), (END, 1.0)]]})
    assert regions.find(prompt, regions.tokens_of({"l": [[(vector, 1.0)]]}), SPECIAL) == (1,)
    assert regions.find(prompt, regions.tokens_of({"l": [[(other, 1.0)]]}), SPECIAL) == ()


def test_a_missing_phrase_is_appended_once(regions):
    painted = regions.painted(half(), "red lake", 1.0, regions.painted(half(), "lake"))
    reader = regions.Reader(tokenize)
    prompt, tokens, named = regions.place("a tree", painted, reader)
    assert prompt == "a tree, lake, red lake"
    assert tokens == tokenize(prompt)
    assert [one.positions for one in named] == [names(regions, prompt, "lake"), names(regions, prompt, "red lake")]
    assert regions.place("", painted[:1], reader)[0] == "lake"
    assert regions.place("the lake", painted[:1], reader)[0] == "the lake"
    deaf = regions.Reader(lambda text: tokenize("") if "red" in text else tokenize(text))
    with pytest.raises(ValueError, match="knows no word"):
        regions.place("a tree", painted, deaf)


def test_words_that_the_clip_does_not_know_are_refused(regions):
    """All of them are one token, so a region of one would take the places of the others."""
    known, unknown = ["lake", "tree", "a"], 99

    def limited(text):
        tokens = tokenize(" ".join(word if word in known else "?" for word in text.split()))["l"]
        return {"l": [[(unknown if token == ord("?") + 100 else token, w) for token, w in chunk] for chunk in tokens]}

    reader = regions.Reader(limited, frozenset({unknown}))
    for phrase in ("castle", "lake castle"):
        with pytest.raises(ValueError, match=f"does not know every word of '{phrase}'"):
            regions.place("a castle dragon lake", regions.painted(half(), phrase), reader)
    *_, (lake,) = regions.place("a castle dragon lake", regions.painted(half(), "lake"), reader)
    assert lake.positions == (4,)
    byte_by_byte = regions.Reader(tokenize, frozenset({END}))  # as CLIP's, where it is the end's token
    *_, (castle,) = regions.place("a castle", regions.painted(half(), "castle"), byte_by_byte)
    assert castle.positions == (2,)


def test_a_region_is_checked_and_nothing_changes(regions):
    first = regions.painted(half()[0], " lake ", 2.0)
    both = regions.painted(half() * 3 - 1, "tree", 1.0, first)
    assert (len(first), len(both)) == (1, 2)
    assert first[0].phrase == "lake"
    assert first[0].mask.shape == (1, 8, 8)
    assert (both[1].mask.min(), both[1].mask.max()) == (0, 1)
    with pytest.raises(ValueError, match="words"):
        regions.painted(half(), "  ")
    assert regions.painted(half()[:, None], "lake")[0].mask.shape == (1, 8, 8)  # as other packs write masks
    with pytest.raises(ValueError, match=r"\[1, 2, 8, 8\]"):
        regions.painted(half()[:, None].repeat(1, 2, 1, 1), "lake")


@pytest.mark.parametrize("grid", [(8, 8), (4, 4), (2, 2), (16, 16)])
def test_masks_keep_their_area_on_any_grid(regions, grid):
    soft = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))
    cells = regions.on_grid(soft, regions.Spot((8, 8)), grid)
    assert cells.shape == (2, grid[0] * grid[1])
    assert torch.allclose(cells.mean(1), soft.mean((1, 2)), atol=1e-6)
    assert cells.std() > 0.05


def test_a_dot_survives_the_coarsest_grid(regions):
    mask = torch.zeros(1, 512, 512)
    mask[0, 300, 40] = 1
    cells = regions.on_grid(mask, regions.Spot((64, 64)), (8, 8))
    assert cells.nonzero().tolist() == [[0, 4 * 8 + 0]]


def test_another_shape_is_cut_from_its_middle(regions):
    mask = torch.zeros(1, 40, 80)
    mask[:, :, 20:60] = 1
    assert (regions.on_grid(mask, regions.Spot((16, 16)), (4, 4)) == 1).all()


def test_an_area_sees_its_own_part(regions):
    cells = regions.on_grid(half(32), regions.Spot((16, 16), (16, 8, 0, 4)), (4, 2))
    assert cells.view(4, 2).tolist() == [[1.0, 0.0]] * 4


def a_target(regions, named, places, grid=(2, 2), **more):
    placed = regions.Placed(
        tuple(regions.Named(one, place) for one, place in zip(named, places, strict=True)), regions.Pull()
    )
    return regions.target(placed, regions.Spot((8, 8)), grid, more.pop("batch", 1), **more)


def test_a_word_of_two_regions_goes_to_both(regions):
    left, soft = half(), torch.full((1, 8, 8), 0.25)
    named = regions.painted(soft, "lake", 3.0, regions.painted(left, "lake", 1.0))
    aim = a_target(regions, named, [(2,), (2, 4)])
    assert aim.positions.tolist() == [2, 4]
    assert aim.masks[0].T.tolist() == [[1.0, 0.25, 1.0, 0.25], [0.25] * 4]
    assert aim.weights.tolist() == [[2.0, 3.0]]


def test_an_empty_region_counts_nowhere(regions):
    """Picture by picture: the second's first region is empty, so its weight is the other's alone."""
    left = torch.cat([half(), torch.zeros(1, 8, 8)])
    named = regions.painted(half(), "lake", 3.0, regions.painted(left, "lake", 1.0))
    aim = a_target(regions, named, [(2,), (2,)], batch=2)
    assert aim.weights.tolist() == [[2.0], [3.0]]
    empty = a_target(regions, regions.painted(torch.zeros(1, 8, 8), "lake", 3.0), [(2,)])
    assert (float(empty.masks.sum()), empty.weights.tolist()) == (0.0, [[1.0]])


def test_batches_pair_or_are_refused(regions):
    named = regions.painted(torch.rand(2, 8, 8), "lake", 1.0, regions.painted(half(), "tree"))
    assert a_target(regions, named, [(1,), (2,)], batch=2).masks.shape == (2, 4, 2)
    with pytest.raises(ValueError, match=r"region mask has a batch of 2 .* latent one of 3"):
        a_target(regions, named, [(1,), (2,)], batch=3)


def test_repeats_and_further_places(regions):
    aim = a_target(regions, regions.painted(half(), "lake"), [(2,)], also=(5,), repeats=2, length=7)
    assert aim.positions.tolist() == [2, 5, 9, 12]
    assert aim.masks[0].sum(0).tolist() == [2, 0, 2, 0]


@pytest.mark.parametrize(("schedule", "kappa"), [("t/T", 0.1), ("constant", 0.5), ("window", 0.5)])
def test_schedules(regions, schedule, kappa):
    assert regions.Pull(strength=0.5, schedule=schedule).kappa(0.2) == pytest.approx(kappa)


# --- colours ----------------------------------------------------------------------------------------------------------

BLUE, GREEN, WHITE = (59 / 255, 110 / 255, 165 / 255), (0.0, 128 / 255, 0.0), (1.0, 1.0, 1.0)


def painting(size=20):
    """Blue above, green in the lower left quarter, white in the lower right."""
    image = torch.empty(1, size, size, 3)
    image[:, : size // 2] = torch.tensor(BLUE)
    image[:, size // 2 :, : size // 2] = torch.tensor(GREEN)
    image[:, size // 2 :, size // 2 :] = torch.tensor(WHITE)
    return image


def test_a_legend(palettes):
    found = palettes.read_legend("#3b6ea5: lake\n\n green : (fir trees:1.2) # 25%\n#fff:\nrgb(1,2,3): it # x")
    assert [one.phrase for one in found] == ["lake", "(fir trees:1.2)", "it"]
    assert found[0].colour == pytest.approx(BLUE)
    assert found[1].colour == pytest.approx(GREEN)
    with pytest.raises(ValueError, match=r"Line 2 .*'blurple'"):
        palettes.read_legend("red: a\nblurple: b")
    with pytest.raises(ValueError, match="no colon"):
        palettes.read_legend("red a house"[:3])


def test_the_proposal_is_a_legend_that_waits(palettes):
    noisy = painting() + 0.02 * torch.randn(1, 20, 20, 3)
    for image in (painting(), noisy):
        found = palettes.propose(image, 0.1)
        assert [share for _, share in found] == pytest.approx([0.5, 0.25, 0.25], abs=0.01)
        assert found[0][0] == pytest.approx(BLUE, abs=0.1)
    text = palettes.as_legend(palettes.propose(painting(), 0.1))
    assert text.splitlines()[0] == "#3b6ea5:  # 50% of the painting"
    assert palettes.read_legend(text) == []
    assert palettes.read_legend(text.replace(":", ": word", 1))[0].phrase == "word"


def test_a_proposal_of_anything_is_quick(palettes):
    """A smooth picture with noise at 1024 px has a million colours; under a second on one core, here with room."""
    drawn = torch.Generator().manual_seed(0)
    slope = torch.linspace(0.1, 0.9, 1024)
    smooth = torch.stack([slope.expand(1024, -1), slope[:, None].expand(-1, 1024), slope.expand(1024, -1) ** 2], -1)
    noisy = (smooth + 0.08 * torch.randn(1024, 1024, 3, generator=drawn))[None]
    for image in (noisy, torch.rand(1, 1024, 1024, 3, generator=drawn)):
        start = time.process_time()
        palettes.propose(image, 0.02)
        assert time.process_time() - start < 5
    noisy[:, 100:300, 100:300] = torch.tensor(BLUE)
    found = palettes.propose(noisy, 0.02)
    assert found[0][0] == pytest.approx(BLUE)
    assert found[0][1] == pytest.approx(200**2 / 1024**2, abs=0.003)


def test_shares_of_a_proposal_are_those_of_its_masks(palettes):
    noisy = (painting(40) + 0.05 * torch.randn(1, 40, 40, 3, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    noisy = (noisy * 255).round() / 255
    found = palettes.propose(noisy, 0.06)
    assert len(found) > 3
    masks = palettes.masks(noisy, [colour for colour, _ in found], 0.06)
    assert [share for _, share in found] == pytest.approx(masks.mean((1, 2, 3)).tolist(), abs=0.005)


def test_pixels_go_to_the_nearest_colour_within_reach(palettes):
    masks = palettes.masks(painting(), [BLUE, WHITE], 0.1)
    assert masks.shape == (2, 1, 20, 20)
    assert masks.mean((1, 2, 3)).tolist() == pytest.approx([0.5, 0.25])
    assert (masks.sum(0) <= 1).all()
    assert palettes.masks(painting(), [BLUE, WHITE], 1.0).sum(0).min() == 1, "nothing is out of reach"


def test_soft_borders(palettes):
    hard, soft = (palettes.masks(painting(64), [BLUE], 0.1, edge) for edge in (0.0, 3.0))
    assert ((soft > 0.1) & (soft < 0.9)).any()
    assert not ((hard > 0) & (hard < 1)).any()
    assert float(soft.mean()) == pytest.approx(float(hard.mean()), abs=0.02)


def test_pictures_with_words(room, palettes):
    pictures = room("pictures.overlays")
    masks = palettes.masks(painting(), [BLUE, GREEN], 0.1)
    shown = pictures.show_regions(painting(), list(masks), [BLUE, GREEN], ["lake", "trees"])
    assert shown.shape == (1, 512, 512, 3)
    blue = shown[0, 30:100, 30:100].mean((0, 1))
    assert blue[2] > blue[0] + 0.2
    bare = pictures.show_regions(painting(), list(masks), [BLUE, GREEN], [" ", " "])
    changed = (shown != bare).any(-1)[0]
    assert changed[:256].any()
    assert changed[256:, :256].any()
    assert not changed[256:, 256:].any()
    heat = pictures.show_heat(painting(600)[0], torch.rand(2, 600, 600), ["a", "b"])
    assert heat.shape == (2, 600, 600, 3)


def test_words_stand_inside_of_their_region(room):
    pictures = room("pictures.overlays")
    ring = torch.zeros(200, 100)
    ring[20:180, 10:90] = 1
    ring[60:150, 30:90] = 0
    x, y = pictures.middle(ring)
    assert ring[int(y * 200), int(x * 100)] == 1
