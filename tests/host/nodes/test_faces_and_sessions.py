"""Align Face and Paste Face on the host's landmarks, and Painting Session's file: values, faults, the next Run."""

from __future__ import annotations

import folder_paths
import numpy as np
import pytest
import torch

SETS = {"right_eye": frozenset({(0, 1)}), "left_eye": frozenset({(2, 3)}), "lips": frozenset({(4, 5), (5, 6)})}
FACE = np.array([[38, 60], [42, 60], [78, 60], [82, 60], [48, 100], [60, 92], [72, 100]], np.float32)


def landmarks(*counts, size=(160, 128)):
    """As many faces in each picture: the first half as large as the second, in the order a detector may give them."""
    sizes = (0.5, 1.0, 0.25)
    frames = [[{"landmarks_xy": FACE * sizes[i]} for i in range(count)] for count in counts]
    return {"frames": frames, "image_size": size, "connection_sets": SETS}


def photo(batch=1, channels=3):
    return torch.rand(batch, 160, 128, channels, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def doors(pack, room):
    return room("nodes.faces")


@pytest.fixture
def session(pack, room, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "get_system_user_directory", lambda name: str(tmp_path / name))
    return room("nodes.sessions").SketchSession


def test_faces_by_size(doors):
    found = [doors.SketchAlignFace.execute(photo(), landmarks(3), number, 64).args[0] for number in (1, 2, 3)]
    alone = doors.SketchAlignFace.execute(photo(), landmarks(1), 1, 64)
    assert torch.equal(found[1], alone.args[0]), "the half-sized face"
    assert alone.ui is None
    assert found[0].shape == (1, 64, 64, 3)
    assert not torch.equal(found[0], found[2])
    told = doors.SketchAlignFace.execute(photo(), landmarks(3), 1, 64).ui
    assert "3 faces were found" in str(told.as_dict())


def test_the_way_back_keeps_the_rest(doors):
    image = photo(2, channels=4)
    cut = doors.SketchAlignFace.execute(image, landmarks(1, 2), 1, 96).args[0]
    made, mask = doors.SketchPasteFace.execute(image, landmarks(1, 2), 1, 1 - cut, 0.2).args
    assert made.shape == (2, 160, 128, 3)
    assert mask.shape == (2, 160, 128)
    assert torch.equal(made[mask == 0], image[..., :3][mask == 0])
    assert (made[mask == 1] - image[..., :3][mask == 1]).abs().mean() > 0.1
    one = doors.SketchPasteFace.execute(image, landmarks(1, 2), 1, cut[:1], 0.2).args[0]
    assert torch.equal(one[0], doors.SketchPasteFace.execute(image[:1], landmarks(1), 1, cut[:1], 0.2).args[0][0])


@pytest.mark.parametrize(
    ("given", "number", "text"),
    [
        (landmarks(0), 1, "No face was found in the picture. Lower min_confidence"),
        (landmarks(2), 3, "The picture has 2 faces, and face is 3. Choose a smaller number"),
        (landmarks(1, 1), 1, "are of 2 pictures, and image has 1"),
        (landmarks(1, size=(64, 32)), 1, "were found in pictures of 32 x 64, and image has 128 x 160"),
        ({"frames": []}, 1, "not what Detect Face Landmarks"),
        (None, 1, "not what Detect Face Landmarks"),
    ],
)
def test_faults_of_landmarks(doors, given, number, text):
    with pytest.raises(ValueError, match=text):
        doors.SketchAlignFace.execute(photo(), given, number, 64)


def test_a_missing_face_is_named(doors):
    with pytest.raises(ValueError, match="No face was found in picture 2 of 3"):
        doors.SketchAlignFace.execute(photo(3), landmarks(1, 0, 1), 1, 64)


def test_a_painting_goes_on(session, room):
    """A blank ground; a look keeps nothing; accepted pictures are the ground of the next Run, with their codes."""
    state = room("pipelines.paint2pix").State(torch.zeros(2, 8, 16), torch.ones(2, 8, 16), "mine.pt")
    ground, codes, step = session.execute("a", "go on", False).args
    assert (ground.shape, float(ground.max()), codes, step) == ((1, 256, 256, 3), 0.0, None, 0)
    blank, image = session.fingerprint_inputs("a"), photo(2)
    assert torch.equal(session.execute("a", "go on", False, image, state).args[0], image)
    assert session.fingerprint_inputs("a") == blank
    assert session.execute("a", "go on", True, image, state).args[2] == 1
    assert session.fingerprint_inputs("a") != blank
    assert session.fingerprint_inputs("a", image=None) == "", "the node that keeps does not run again for it"
    ground, codes, step = session.execute("a", "go on", False).args
    assert (ground - image[:1]).abs().max() <= 0.5 / 255 + 1e-6
    assert (codes.painter, step) == ("mine.pt", 1)
    assert torch.equal(codes.after, state.after[:1])
    assert session.execute("a", "go on", True, image).args[2] == 2
    assert session.execute("a", "go on", False).args[1] is None, "a picture without codes"
    assert session.execute("b", "go on", False).args[2] == 0, "another painting"


def test_start_anew(session):
    session.execute("a", "go on", True, photo())
    assert session.execute("a", "start anew", False).args[2] == 0
    assert session.execute("a", "go on", False).args[2] == 1, "still kept"
    session.execute("a", "start anew", True, photo())
    assert session.execute("a", "go on", False).args[2] == 1


def test_faults_of_sessions(session, room, tmp_path):
    assert "cannot be a file name" in session.validate_inputs("../a")
    assert session.validate_inputs("my painting") is True
    session.execute("a", "go on", True, photo())
    path = room("nodes.parts.sessions").session_file("a")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"The painting 'a' cannot be read: 'a.safetensors' is damaged"):
        session.execute("a", "go on", False)
    state = room("pipelines.paint2pix").State(torch.zeros(1, 8, 16), torch.ones(1, 8, 16), "mine.pt")
    with pytest.raises(ValueError, match="Connect the image as well"):
        session.execute("a", "start anew", False, None, state)


def test_states_of_other_networks_are_refused_by_predict(session, room):
    """A session of another network: the sentence that Paint2pix Predict has."""
    paint = room("pipelines.paint2pix")
    session.execute("a", "go on", True, photo(), paint.State(torch.zeros(1, 8, 16), torch.ones(1, 8, 16), "mine.pt"))
    kept = session.execute("a", "go on", False).args[1]

    class Network:
        latent_avg = torch.zeros(18, 512)

    with pytest.raises(ValueError, match=r"comes from mine.pt, whose codes are 8 x 16; these networks' are 18 x 512"):
        paint.check_state(Network, kept)
