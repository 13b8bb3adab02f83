"""SketchContactSheet and SketchFaithfulnessReport as the host calls them: lists in, labels, ranks and refusals."""

from __future__ import annotations

import json

import pytest
import torch


@pytest.fixture(scope="module")
def report(room):
    return room("nodes.report")


@pytest.fixture(autouse=True)
def _as_the_host_runs_nodes(host_nodes):
    with torch.inference_mode():
        yield


@pytest.fixture
def _quick_painter(monkeypatch, room):
    """Where repainting is not what is tested: the median filter takes a third of a second a picture."""
    monkeypatch.setattr(room("pictures.report"), "repaint", lambda pictures: pictures.round(decimals=1))


def pictures(count, seed=0, height=48, width=40):
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.rand(count, 3, 4, 4, generator=generator)
    picture = torch.nn.functional.interpolate(smooth, (height, width), mode="bicubic").movedim(1, -1)
    return (picture + 0.03 * torch.randn(picture.shape, generator=generator)).clamp(0, 1)


def sheet(report, images, labels=None, columns=0, cell=64):
    return report.SketchContactSheet.execute(images, [columns], [cell], labels).args[0]


def judge(report, results, guide, **options):
    """(ranked, plot, table, numbers) of the report node; options as the host passes them, in lists."""
    rank_by = options.pop("rank_by", "both")
    out = report.SketchFaithfulnessReport.execute(results, guide, [rank_by], **options)
    ranked, plot, table, numbers = out.args
    (told,) = out.ui.as_dict()["text"]
    first = table.splitlines()[2].split(" | ")[1]
    assert told.startswith(f"Best: {first} ("), "the node says in words who is first in the table"
    return ranked, plot, table, json.loads(numbers)


# contact sheet


@pytest.mark.parametrize("batches", [[1], [3], [1, 1, 1, 1], [2, 2], [3, 1, 2]])
@pytest.mark.parametrize("columns", [0, 2])
def test_any_lists_and_batches_make_one_sheet(report, batches, columns):
    images = [pictures(n, i) for i, n in enumerate(batches)]
    for labels in (None, [f"t0 {i}" for i in range(len(batches))], [f"p{i}" for i in range(sum(batches))]):
        out = sheet(report, images, labels, columns)
        assert out.shape[0] == 1
        assert out.shape[3] == 3
        assert 0 <= out.min() <= out.max() <= 1


def test_batches_of_a_list_stand_in_rows_under_each_other(report):
    wide = sheet(report, [pictures(4, i) for i in range(2)])
    high = sheet(report, [pictures(2, i) for i in range(4)])
    assert wide.shape[2] > wide.shape[1]
    assert high.shape[1] > high.shape[2]


def test_sheet_takes_mixed_sizes_and_alpha(report):
    images = [pictures(1, 0, 30, 90), torch.rand(2, 64, 16, 4), pictures(1, 1, 1, 1)]
    assert sheet(report, images, ["wide", "two high ones\nwith alpha", "a pixel"]).shape[0] == 1


def test_labels_as_lines_of_one_text(report):
    images = [pictures(1, i) for i in range(3)]
    assert torch.equal(sheet(report, images, ["a\nb\nc"]), sheet(report, images, ["a", "b", "c"]))


def test_wrong_number_of_labels_is_refused_with_both_numbers(report):
    with pytest.raises(ValueError, match="Got 3 labels for 2 list entries with 4 pictures"):
        sheet(report, [pictures(2), pictures(2)], ["a", "b", "c"])


# faithfulness report


def test_results_are_ranked_by_their_distance_to_the_guide(report):
    guide = pictures(1) * 0.5
    offsets = [0.2, 0.0, 0.1]
    results = torch.cat([guide + offset for offset in offsets])
    ranked, plot, table, numbers = judge(report, [results], [guide])
    assert torch.allclose(ranked, torch.cat([guide, guide + 0.1, guide + 0.2]))
    assert [row["rank"] for row in numbers] == [3, 1, 2]
    assert [row["rms"] for row in numbers] == pytest.approx(offsets, abs=1e-5)
    assert numbers[0]["L2"] == pytest.approx(0.2 * (48 * 40 * 3) ** 0.5, rel=1e-3)
    assert "realism" not in numbers[0]
    assert table.splitlines()[2].startswith("| 1 | 2 | 0 |")
    assert plot.shape[0] == 1


@pytest.mark.usefixtures("_quick_painter")
def test_realism_only_with_references_and_it_can_rank(report):
    references = pictures(24, 1)
    good, guide = pictures(2, 2), pictures(2, 2) + 0.05
    bad = torch.rand(2, 48, 40, 3, generator=torch.Generator().manual_seed(3))
    results = [torch.cat([bad[:1], good[:1]]), torch.cat([bad[1:], good[1:]])]
    guides = [torch.cat([bad[:1], guide[:1]]), torch.cat([bad[1:], guide[1:]])]
    _, narrow, _, _ = judge(report, results, guides)
    ranked, plot, _, numbers = judge(report, results, guides, references=[references], rank_by="realism")
    assert {row["rank"] for row in numbers if row["realism"] > 2} == {3, 4}
    assert torch.equal(ranked[2:], bad) or torch.equal(ranked[2:], bad.flip(0))
    assert plot.shape[2] == 2 * narrow.shape[2]
    faithful = judge(report, results, guides, references=[references], rank_by="faithfulness")[3]
    assert {row["rank"] for row in faithful if row["rms"] == 0} == {1, 2}


def test_both_weighs_the_two_places(room):
    report = room("pictures.report")
    numbers = {"rms": [0.1, 0.2, 0.3], "realism": [3.0, 1.5, 1.0]}
    assert report.rank(numbers, "faithfulness") == [0, 1, 2]
    assert report.rank(numbers, "realism") == [2, 1, 0]
    assert report.rank(numbers, "both") == [0, 1, 2]  # all equal: the faithful one first
    assert report.rank({"rms": [0.1, 0.2, 0.3], "realism": [3.0, 1.0, 1.5]}, "both") == [1, 0, 2]


def test_mask_counts_inside_and_reports_changes_outside(report):
    guide = (pictures(2) * 255).round() / 255  # as loaded from a file
    mask = torch.zeros(1, 48, 40)
    mask[:, 10:30, 10:30] = 1
    results = torch.where(mask[..., None] > 0, 1 - guide, guide + 0.001 / 255)
    rows = judge(report, [results], [guide], mask=[mask])[3]
    whole = judge(report, [results], [guide])[3]
    assert [row["changed outside"] for row in rows] == [0, 0]
    assert rows[0]["rms"] > 2 * whole[0]["rms"]
    results[1, 0, 0] += 0.1
    assert [row["changed outside"] for row in judge(report, [results], [guide], mask=[mask])[3]] == [0, 1]


@pytest.mark.usefixtures("_quick_painter")
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_sweep_of_batches_pairs_with_its_guides(report, batch):
    """A t0 sweep: a list of batches, one guide batch for all of them, one label for each walk."""
    guide = pictures(batch)
    results = [(guide + 0.05 * i).clamp(0, 1) for i in range(4)]
    rows = judge(report, results, [guide], labels=[f"t0 {i}" for i in range(4)])[3]
    assert len(rows) == 4 * batch
    assert [row["label"] for row in rows] == [f"t0 {i}" for i in range(4) for _ in range(batch)]
    assert all(row["rms"] == row["repainted"] == row["palette"] == 0 for row in rows[:batch])


def test_guides_of_another_size_are_cut_and_scaled(report):
    rows = judge(report, [pictures(2, height=64, width=64)], [pictures(1, height=90, width=200)])[3]
    assert len(rows) == 2


def test_refusals(report):
    with pytest.raises(ValueError, match="guide has a batch of 2 and the results one of 3"):
        judge(report, [pictures(3)], [pictures(2)])
    with pytest.raises(ValueError, match="same size, got 40x48 and 64x64"):
        judge(report, [pictures(1), pictures(1, height=64, width=64)], [pictures(1)])
    with pytest.raises(ValueError, match="at least 4 reference pictures"):
        judge(report, [pictures(1)], [pictures(1)], references=[pictures(2)])
