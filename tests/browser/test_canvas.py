"""Sketch Canvas by real pointer events, in the classic renderer and in Nodes 2.0."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from helpers.canvas import BLUE, WHITE, Brush, graph, near, picture, plain
from helpers.editor import RENDERERS, VUE_NODES, press_run, setting


@pytest.fixture(params=RENDERERS, scope="module")
def drawn(request: pytest.FixtureRequest, one_editor: Any) -> Iterator[Any]:
    """One editor for all tests here, in each renderer."""
    before = setting(one_editor.page, VUE_NODES, RENDERERS[request.param])
    one_editor.errors.clear()
    one_editor.renderer = request.param
    yield one_editor
    setting(one_editor.page, VUE_NODES, before)
    assert not one_editor.errors, one_editor.errors


def test_strokes_become_a_picture_with_words(drawn, server):
    """Paint, choose words, fill, undo and redo by keys, erase; each run sees what is on the canvas."""
    ids = plain(drawn)
    brush = Brush(drawn, ids["canvas"])
    brush.words("a lake")
    brush.stroke((0.2, 0.7), (0.8, 0.7))
    outputs = press_run(drawn, server)
    made = picture(server, outputs, ids["image"])
    assert made.shape == (512, 512, 3)
    assert near(made[358, 256], BLUE)
    assert near(made[100, 256], WHITE)
    assert outputs[str(ids["legend"])]["text"] == ["#3b6ea5: a lake"]
    first = brush.value("painting")

    brush.words("sky")
    brush.click("fill")
    brush.stroke((0.5, 0.2))
    filled = brush.seen()
    assert near(filled[5, 5], (0x9C, 0xC4, 0xEA))
    assert near(filled[358, 256], BLUE), "the fill ends at the stroke"
    assert filled[..., 3].min() >= 254, "and leaves no gap at its soft edge"

    third = brush.value("painting")
    brush.page.keyboard.press("Control+z")
    assert brush.wait_for_other(third) == first
    until(drawn, lambda: brush.seen()[5, 5, 3] == 0, "the fill is undone")
    brush.page.keyboard.press("Control+Shift+z")
    assert brush.wait_for_other(first) == third
    brush.page.keyboard.press("e")
    brush.stroke((0.4, 0.7), (0.6, 0.7))
    outputs = press_run(drawn, server)
    made = picture(server, outputs, ids["image"])
    assert near(made[358, 256], WHITE), "erased down to the paper"
    assert near(made[358, 410], BLUE)
    assert set(outputs[str(ids["legend"])]["text"][0].splitlines()) == {"#9cc4ea: sky", "#3b6ea5: a lake"}
    assert len(drawn.page.evaluate("window.app.graph.nodes.map(node => node.id)")) == 3, "the editor undid nothing"
    drawn.shot(f"canvas - {drawn.renderer}")


def test_keys_words_and_size(drawn, server):
    """Keys choose colours, tools and sizes. Words end with Enter. Another size keeps the strokes, and undo the old."""
    page = drawn.page
    ids = plain(drawn)
    brush = Brush(drawn, ids["canvas"])
    brush.stroke((0.5, 0.2), (0.5, 0.8))
    painted = brush.value("painting")
    size = brush.sheet.locator("[data-act='size']")
    page.keyboard.press("]")
    assert size.input_value() == "38"
    page.keyboard.press("[")
    assert size.input_value() == "32"
    page.keyboard.press("g")
    assert "on" in brush.sheet.locator("[data-act='fill']").get_attribute("class")
    page.keyboard.press("3")
    assert brush.sheet.locator(".chip.on").inner_text() == "mountains"
    words = brush.sheet.locator("[data-act='words']")
    words.fill("a cliff # steep")
    words.press("Enter")
    assert "#79808f: a cliff   steep" in brush.value("palette").splitlines()

    brush.click("ground")
    brush.sheet.locator("[data-act='width']").fill("255")
    brush.click("Resize")
    until(drawn, lambda: brush.value("width") == 256, "the new width is saved")
    assert brush.value("painting") == painted
    made = picture(server, press_run(drawn, server), ids["image"])
    assert made.shape == (512, 256, 3)
    assert near(made[256, 128], BLUE)
    until(drawn, lambda: near(brush.seen()[256, 128], BLUE), "the stroke at the new size")
    brush.stroke((0.9, 0.9))  # fills
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    until(drawn, lambda: (brush.value("width"), brush.value("painting")) == (512, painted), "both are undone")
    page.keyboard.press("Control+y")
    until(drawn, lambda: brush.value("width") == 256, "and one comes back")


def live(editor: Any, on: bool) -> None:
    editor.page.evaluate("on => { window.app.extensionManager.queueSettings.mode = on ? 'change' : 'disabled' }", on)


def test_live_each_stroke_becomes_a_picture(drawn, server):
    """Run (On Change): ten strokes, each makes one run with a picture of its own, and looking on makes none."""
    ids = plain(drawn)
    brush = Brush(drawn, ids["canvas"])
    brush.stroke((0.1, 0.97), (0.9, 0.97))
    press_run(drawn, server)  # the nodes have their sizes: 1.47 also runs when a node grows
    sent: list[tuple[str, str]] = []  # painting and prompt, as they are queued

    def listen(answer: Any) -> None:
        if answer.url.endswith("/api/prompt") and answer.request.method == "POST":
            inputs = answer.request.post_data_json["prompt"][str(ids["canvas"])]["inputs"]
            sent.append((inputs["painting"], answer.json()["prompt_id"]))

    drawn.page.on("response", listen)
    live(drawn, True)
    strokes = []
    try:
        for number in range(10):
            height = 0.05 + 0.09 * number
            brush.stroke((0.2, height), (0.8, height))
            strokes.append(brush.value("painting"))
            for _ in range(round(200 * drawn.patience)):
                if strokes[-1] in dict(sent):
                    break
                drawn.page.wait_for_timeout(50)
            shown = picture(server, server.wait(dict(sent)[strokes[-1]], 60), ids["image"])
            rows = [near(shown[round(512 * (0.05 + 0.09 * row)), 256], BLUE) for row in range(10)]
            assert rows == [row <= number for row in range(10)]
        drawn.page.wait_for_timeout(600)
    finally:
        live(drawn, False)
        drawn.page.remove_listener("response", listen)
    queued = [painting for painting, _ in sent]
    assert list(dict.fromkeys(queued)) == strokes, "each stroke once, in order"
    # The editor of 1.47 itself queues once more as a node changes its size; that run finds everything done.
    assert len(queued) <= 11


def waiting(editor: Any, file: str) -> dict[str, int]:
    """A canvas whose picture takes until this file is in the input folder."""
    return graph(
        editor,
        {
            "canvas": ["SketchCanvas", 0, 0, {"width": 256, "height": 256}],
            "wait": ["HarnessWait", 560, 0, {"file": file}],
            "image": ["PreviewImage", 560, 150, {}],
        },
        [["canvas", "image", "wait", "image"], ["wait", "IMAGE", "image", "images"]],
    )


def release(server: Any, file: str) -> None:
    """Ends the waiting of all runs."""
    made = io.BytesIO()
    Image.new("RGB", (1, 1)).save(made, "PNG")
    assert server.upload(file, made.getvalue()) == file


def running(server: Any) -> list[str]:
    return [run[1] for run in server.get_json("/queue")["queue_running"]]


def runs_of(server: Any, sent: list[tuple[str, str]]) -> list[str]:
    """How each of these prompts ended: the last thing that the server told of it."""
    ends = []
    for _, prompt in sent:
        told = server.get_json(f"/history/{prompt}")[prompt]["status"]["messages"]
        ends.append(told[-1][0])
    return ends


@pytest.fixture
def sent(drawn: Any) -> Iterator[list[tuple[str, str]]]:
    """Painting and prompt id of what the editor queues, as it comes."""
    found: list[tuple[str, str]] = []

    def listen(answer: Any) -> None:
        if answer.url.endswith("/api/prompt") and answer.request.method == "POST":
            for node in answer.request.post_data_json["prompt"].values():
                if node["class_type"] == "SketchCanvas":
                    found.append((node["inputs"]["painting"], answer.json()["prompt_id"]))

    drawn.page.on("response", listen)
    yield found
    live(drawn, False)
    drawn.page.remove_listener("response", listen)


def paint_lines(brush: Brush, numbers: range) -> str:
    """Of ten lines below each other those with these numbers; the painting after them."""
    for number in numbers:
        brush.stroke((0.2, 0.05 + 0.09 * number), (0.8, 0.05 + 0.09 * number))
    return brush.value("painting")


def until(editor: Any, found: Callable[[], bool], what: str) -> None:
    for _ in range(round(200 * editor.patience)):
        if found():
            return
        editor.page.wait_for_timeout(50)
    pytest.fail(f"never: {what}")


RESULTS = "id => (window.app.nodeOutputs?.[id]?.images ?? []).map(image => image.filename)"


def results(editor: Any, node: int) -> list[str]:
    """The files that the page shows at a node since the last run."""
    return editor.page.evaluate(RESULTS, node)


def test_a_newer_stroke_gives_up_the_picture_before_it(drawn, server, sent):
    """Ten strokes while pictures are slow: the newest painting is next, three times in a row; the fourth picture is
    finished, so that one sees something while one paints; then the last one, and all strokes are in it."""
    file = f"{drawn.renderer} strokes.png"
    ids = waiting(drawn, file)
    brush = Brush(drawn, ids["canvas"])
    live(drawn, True)
    for number in range(4):
        painting = paint_lines(brush, range(number, number + 1))
        until(drawn, lambda painting=painting: painting in dict(sent), f"stroke {number} is queued")
        until(drawn, lambda: running(server) == [sent[-1][1]], f"stroke {number} runs")
    last = paint_lines(brush, range(4, 10))
    drawn.page.wait_for_timeout(500)
    assert running(server) == [sent[-1][1]]
    assert len(sent) == 4
    release(server, file)
    until(drawn, lambda: last in dict(sent), "the last painting is queued")
    strokes = picture(server, server.wait(dict(sent)[last]), ids["image"])
    assert all(near(strokes[round(256 * (0.05 + 0.09 * row)), 128], BLUE) for row in range(10))
    assert runs_of(server, sent[:5]) == ["execution_interrupted"] * 3 + ["execution_success"] * 2
    # The editor of 1.47 itself queues once more as a node changes its size; that run finds everything done.
    assert {painting for painting, _ in sent[5:]} <= {last}


def test_what_no_stroke_gives_up(drawn, server, sent):
    """Somebody else's run of the same graph; and any run if the setting says so. The strokes wait until it is done."""
    file = f"{drawn.renderer} foreign.png"
    ids = waiting(drawn, file)
    brush = Brush(drawn, ids["canvas"])
    paint_lines(brush, range(1))
    foreign = server.submit(drawn.page.evaluate("async () => (await window.app.graphToPrompt()).output"))
    until(drawn, lambda: running(server) == [foreign], "the other one's run")
    live(drawn, True)
    paint_lines(brush, range(1, 3))
    drawn.page.wait_for_timeout(500)
    assert running(server) == [foreign]
    release(server, file)
    server.wait(foreign)
    live(drawn, False)

    before = setting(drawn.page, "SketchSynth.Canvas.NewestFirst", False)
    try:
        file = f"{drawn.renderer} setting.png"
        ids = waiting(drawn, file)
        brush = Brush(drawn, ids["canvas"])
        sent.clear()
        live(drawn, True)
        paint_lines(brush, range(1))
        until(drawn, lambda: bool(sent) and running(server) == [sent[0][1]], "the first stroke runs")
        last = paint_lines(brush, range(1, 3))
        drawn.page.wait_for_timeout(500)
        assert running(server) == [sent[0][1]]
        release(server, file)
        until(drawn, lambda: last in dict(sent), "the last painting is queued")
        server.wait(dict(sent)[last])
        assert runs_of(server, sent[:2]) == ["execution_success"] * 2
    finally:
        setting(drawn.page, "SketchSynth.Canvas.NewestFirst", before)


def test_the_painting_is_there_after_reload_copy_and_undo(drawn, server):
    """In a graph that is opened again, in a copy of the node (which then goes its own way), after the editor's undo."""
    page = drawn.page
    ids = plain(drawn)
    brush = Brush(drawn, ids["canvas"])
    brush.stroke((0.2, 0.5), (0.8, 0.5))
    first = brush.value("painting")
    page.evaluate("async () => window.app.loadGraphData(JSON.parse(JSON.stringify(window.app.graph.serialize())))")
    page.wait_for_timeout(1500)
    until(drawn, lambda: near(brush.seen()[256, 256], BLUE), "the strokes of the loaded graph")
    assert brush.value("painting") == first

    copied = page.evaluate(
        """(id) => {
            const { canvas, graph } = window.app
            canvas.selectNode(graph.getNodeById(id))
            canvas.copyToClipboard()
            canvas.graph_mouse = [0, 720]
            canvas.pasteFromClipboard()
            canvas.ds.offset = [480, -600]
            canvas.setDirty(true, true)
            return graph.nodes.filter(node => node.type === 'SketchCanvas').at(-1).id
        }""",
        ids["canvas"],
    )
    page.wait_for_timeout(1500)
    copy = Brush(drawn, copied)
    until(drawn, lambda: near(copy.seen()[256, 256], BLUE), "the copy's strokes")
    copy.stroke((0.5, 0.1), (0.5, 0.9))
    assert copy.value("painting") != first
    assert brush.value("painting") == first, "each canvas has a painting of its own"
    second = copy.value("painting")
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Undo')")
    assert copy.wait_for_other(second) == first


LOGIC = """async () => {
  const part = name => import(`/extensions/sketchsynth/canvas/${name}.js`)
  const [{ flood }, { readPalette, writePalette }, { History }] =
    await Promise.all(['flood', 'palette', 'history'].map(part))
  const pixels = new Uint8ClampedArray(9 * 4 * 4).fill(255)
  for (let y = 0; y < 4; y++) pixels.set([0, 0, 0], 4 * (9 * y + 5))
  const rows = String([...flood(pixels, 9, 4, 0, 0)].join('')).match(/.{9}/g)
  const text = '#9cc4ea: a sky\\n#1b1b1b:'
  const history = new History(0, 3)
  for (const state of [1, 2, 3]) history.push(state)
  const steps = [history.now, history.step(-1), history.now, history.step(-1), history.step(-1), history.now]
  history.push(9)
  const read = readPalette('#9CC4EA: a sky # high\\nnot a colour\\n#123456')
  return { rows, same: writePalette(readPalette(text)) === text, read, steps, ends: [history.now, history.has(1)] }
}"""


def test_the_logic_without_a_surface(drawn):
    """Fill, palette and history, as their files say."""
    told = drawn.page.evaluate(LOGIC)
    assert told["rows"] == ["111112200"] * 4, "up to the line, and a rim of two pixels under it"
    assert told["same"]
    assert told["read"] == [{"colour": "#9cc4ea", "words": "a sky"}, {"colour": "#123456", "words": ""}]
    assert told["steps"] == [3, True, 2, True, False, 1], "three states are kept"
    assert told["ends"] == [9, False]


def test_no_stroke_is_lost_while_the_server_does_not_answer(drawn):
    """It says so, keeps trying, and saves what was painted meanwhile; Run waits instead of taking an older painting."""
    page = drawn.page
    ids = plain(drawn)
    brush = Brush(drawn, ids["canvas"])
    brush.stroke((0.1, 0.1), (0.9, 0.1))
    before = brush.value("painting")
    page.route("**/upload/image", lambda route: route.abort())
    try:
        brush.stroke((0.1, 0.5), (0.9, 0.5), saved=False)
        brush.sheet.get_by_text("Not saved yet").wait_for()
        refused = page.evaluate(
            """id => window.app.graph.getNodeById(id).widgets[0].serializeValue().then(() => false, () => true)""",
            ids["canvas"],
        )
        assert refused
        brush.stroke((0.1, 0.9), (0.9, 0.9), saved=False)
        page.wait_for_timeout(500)
        assert brush.value("painting") == before
    finally:
        page.unroute("**/upload/image")
    brush.wait_for_other(before)
    kept = brush.seen()[:, 256, 3]
    assert [kept[round(512 * row)] for row in (0.1, 0.5, 0.9)] == [255, 255, 255]
    page.evaluate("async () => window.app.loadGraphData(JSON.parse(JSON.stringify(window.app.graph.serialize())))")
    page.wait_for_timeout(1500)
    until(drawn, lambda: (brush.seen()[:, 256, 3] == kept).all(), "and that is what the server has")


def test_in_a_subgraph_at_2048_pixels(drawn, server):
    page = drawn.page
    ids = plain(drawn, width=2048, height=2048)
    page.evaluate(
        """(id) => {
            const { graph } = window.app
            window.made = graph.convertToSubgraph(new Set([graph.getNodeById(id)]))
        }""",
        ids["canvas"],
    )
    page.wait_for_timeout(300)  # at once, 1.58 would go on showing the element of the node that was there
    page.evaluate(
        """() => {
            const { canvas } = window.app
            const { subgraph, node } = window.made
            canvas.openSubgraph(subgraph, node)
            canvas.ds.scale = 1
            canvas.ds.offset = [480 - subgraph.nodes[0].pos[0], 90 - subgraph.nodes[0].pos[1]]
            canvas.setDirty(true, true)
        }"""
    )
    page.wait_for_timeout(1200)
    inside = page.evaluate("window.app.canvas.graph.nodes[0].id")
    brush = Brush(drawn, inside)
    brush.stroke((0.2, 0.5), (0.8, 0.5))
    page.evaluate("window.app.canvas.setGraph(window.app.rootGraph ?? window.app.graph)")
    page.wait_for_timeout(300)
    made = picture(server, press_run(drawn, server), ids["image"])
    assert made.shape == (2048, 2048, 3)
    assert near(made[1024, 1024], BLUE)
    assert near(made[900, 1024], WHITE)


def test_a_connected_ground_and_the_result_as_the_next_one(drawn, server):
    """The painting takes the ground's size; one click later the result lies below, and the strokes are gone. The PNG
    of the run opens as that painting."""
    page = drawn.page
    ids = graph(
        drawn,
        {
            "ground": ["EmptyImage", -400, 0, {"width": 96, "height": 64, "color": 0x204060}],
            "canvas": ["SketchCanvas", 0, 0, {"width": 96, "height": 64}],
            "invert": ["ImageInvert", 560, 0, {}],
            "image": ["PreviewImage", 560, 100, {}],
        },
        [
            ["ground", "IMAGE", "canvas", "ground"],
            ["canvas", "image", "invert", "image"],
            ["invert", "IMAGE", "image", "images"],
        ],
    )
    brush = Brush(drawn, ids["canvas"])
    outputs = press_run(drawn, server)
    assert near(picture(server, outputs, ids["image"])[32, 48], (0xDF, 0xBF, 0x9F))
    until(drawn, lambda: near(brush.ground()[32, 48], (0x20, 0x40, 0x60)), "the run's ground lies below")
    page.evaluate(
        """([canvas, image]) => {
            const node = id => window.app.graph.getNodeById(id)
            node(canvas).connect(0, node(image), 0)
        }""",
        [ids["canvas"], ids["invert"]],
    )
    page.wait_for_timeout(300)
    assert near(brush.ground()[32, 48], (0x20, 0x40, 0x60)), "a new wire on the image leaves the ground there"
    brush.stroke((0.2, 0.5), (0.8, 0.5))
    painted = brush.value("painting")
    outputs = press_run(drawn, server)
    [shown] = outputs[str(ids["image"])]["images"]
    until(drawn, lambda: results(drawn, ids["image"]) == [shown["filename"]], "the page has the result")
    brush.click("take")
    brush.wait_for_other(painted)
    assert brush.value("painting") == ""
    assert brush.value("photo").startswith("sketch_canvas/ground-")
    made = picture(server, press_run(drawn, server), ids["image"])
    assert made.shape == (64, 96, 3)
    assert near(made[32, 48], BLUE), "inverted twice"
    assert near(made[5, 48], (0x20, 0x40, 0x60))

    page.evaluate(
        """async bytes => {
            await window.app.handleFile(new File([new Uint8Array(bytes)], 'shared.png', { type: 'image/png' }))
        }""",
        list(server.picture(shown)),
    )
    until(drawn, lambda: brush.value("painting") == painted, "the strokes of the shared graph")
    until(drawn, lambda: near(brush.seen()[32, 48], BLUE), "and the page shows them")


CHOOSE = """([id, file]) => {
    window.app.graph.getNodeById(id).widgets.find(one => one.name === 'image').value = file
    const { changeTracker } = window.app.extensionManager.workflow.activeWorkflow
    changeTracker.captureCanvasState ? changeTracker.captureCanvasState() : changeTracker.checkState()
}"""


def flat(size: tuple[int, int], colour: tuple[int, int, int]) -> bytes:
    """A PNG of one colour."""
    made = io.BytesIO()
    Image.new("RGB", size, colour).save(made, "PNG")
    return made.getvalue()


def test_another_file_of_the_ground_lies_below_before_a_run(drawn, server):
    """In its own size, and the strokes go on it."""
    files = [
        server.upload("one ground.png", flat((96, 64), (0x20, 0x40, 0x60))),
        server.upload("another ground.png", flat((80, 80), (0x90, 0x30, 0x10))),
    ]
    ids = graph(
        drawn,
        {
            "photo": ["LoadImage", -400, 0, {"image": files[0]}],
            "canvas": ["SketchCanvas", 0, 0, {"width": 96, "height": 64}],
            "image": ["PreviewImage", 560, 0, {}],
        },
        [["photo", "IMAGE", "canvas", "ground"], ["canvas", "image", "image", "images"]],
    )
    brush = Brush(drawn, ids["canvas"])
    until(drawn, lambda: near(brush.ground()[32, 48], (0x20, 0x40, 0x60)), "the first file below")
    drawn.page.evaluate(CHOOSE, [ids["photo"], files[1]])
    until(drawn, lambda: near(brush.ground()[32, 48], (0x90, 0x30, 0x10)), "the second file below")
    until(drawn, lambda: (brush.value("width"), brush.value("height")) == (80, 80), "a painting of its size")
    brush.stroke((0.2, 0.5), (0.8, 0.5))
    made = picture(server, press_run(drawn, server), ids["image"])
    assert made.shape == (80, 80, 3)
    assert near(made[40, 40], BLUE)
    assert near(made[5, 40], (0x90, 0x30, 0x10))


VIEW = "(() => { const { scale, offset } = window.app.canvas.ds; return [scale, ...offset, window.scrollY] })()"


def test_a_finger_paints_and_two_zoom(drawn):
    """One finger paints, and neither page nor graph moves. A second one takes the stroke back; in the large view both
    zoom the painting. Once a pen was there, a finger (or the hand that holds the pen) paints no more."""
    page = drawn.page
    ids = plain(drawn)
    brush = Brush(drawn, ids["canvas"])
    place = page.evaluate(VIEW)
    brush.fingers([(0.2, 0.3), (0.4, 0.3), (0.6, 0.4), (0.8, 0.8)])
    assert page.evaluate(VIEW) == place
    painted, first = brush.seen(), brush.value("painting")
    assert near(painted[154, 102], BLUE)
    assert near(painted[230, 330], BLUE)
    assert brush.sheet.locator(".ring").is_hidden(), "no ring below a finger"

    apart = ([(0.45, 0.6), (0.4, 0.6), (0.3, 0.6)], [(0.55, 0.6), (0.6, 0.6), (0.7, 0.6)])
    brush.fingers(*apart, saved=False)
    page.wait_for_timeout(500)
    assert brush.value("painting") == first
    assert (brush.seen() == painted).all(), "no stroke of the first finger is left"

    page.evaluate("([scale, x, y]) => Object.assign(window.app.canvas.ds, { scale, offset: [x, y] })", place)
    page.wait_for_timeout(300)
    brush.click("large")
    page.keyboard.press("0")
    stage = brush.sheet.locator(".stage")
    wide = stage.bounding_box()["width"]
    brush.fingers(*apart, saved=False)
    assert stage.bounding_box()["width"] > 2.5 * wide
    page.wait_for_timeout(300)
    assert (brush.seen() == painted).all()
    page.keyboard.press("0")
    assert stage.bounding_box()["width"] == wide
    brush.pen(0.5, (0.1, 0.9), (0.3, 0.9), (0.5, 0.9))
    second, painted = brush.value("painting"), brush.seen()
    brush.fingers([(0.7, 0.1), (0.8, 0.1), (0.9, 0.1)], saved=False)
    page.wait_for_timeout(500)
    assert brush.value("painting") == second
    assert (brush.seen() == painted).all()
    page.keyboard.press("Escape")


def test_pressure_of_a_pen_is_width(drawn):
    ids = plain(drawn)
    brush = Brush(drawn, ids["canvas"])
    for force, height in ((0.1, 0.2), (0.5, 0.5), (1.0, 0.8)):
        brush.pen(force, (0.2, height), (0.4, height), (0.6, height), (0.8, height))
    opaque = brush.seen()[:, 256, 3] > 127
    wide = [opaque[round(512 * height) - 40 :][:80].sum() for height in (0.2, 0.5, 0.8)]
    assert wide == pytest.approx([32 * (0.15 + 0.85 * force) for force in (0.1, 0.5, 1.0)], abs=1.5)


def test_one_of_several_results_becomes_the_ground(drawn, server):
    """The arrow offers all pictures of the last run, in their order; one click takes the one. In the large view they
    lie beside the painting, and a click takes one, too."""
    page = drawn.page
    ids = graph(
        drawn,
        {
            "canvas": ["SketchCanvas", 0, 0, {"width": 128, "height": 96}],
            "red": ["EmptyImage", -400, 0, {"width": 128, "height": 96, "color": 0xFF0000}],
            "green": ["EmptyImage", -400, 200, {"width": 128, "height": 96, "color": 0x00FF00}],
            "two": ["ImageBatch", 560, 0, {}],
            "three": ["ImageBatch", 560, 100, {}],
            "image": ["PreviewImage", 560, 200, {}],
        },
        [
            ["canvas", "image", "two", "image1"],
            ["red", "IMAGE", "two", "image2"],
            ["two", "IMAGE", "three", "image1"],
            ["green", "IMAGE", "three", "image2"],
            ["three", "IMAGE", "image", "images"],
        ],
    )
    brush = Brush(drawn, ids["canvas"])
    brush.click("take")
    brush.sheet.get_by_text("There is no result yet").wait_for()
    brush.stroke((0.2, 0.5), (0.8, 0.5))
    painted = brush.value("painting")
    press_run(drawn, server)
    until(drawn, lambda: len(results(drawn, ids["image"])) == 3, "the page has the results")
    offered = brush.sheet.locator("[data-act='this']")
    brush.click("take")
    assert offered.count() == 3
    drawn.shot(f"results - {drawn.renderer}")
    brush.click("take")
    assert offered.count() == 0, "the arrow closes it again"
    brush.click("take")
    offered.nth(1).click()
    brush.wait_for_other(painted)
    assert (brush.value("painting"), offered.count()) == ("", 0)
    red = brush.value("photo")
    until(drawn, lambda: near(brush.ground()[48, 64], (255, 0, 0)), "the red picture lies below")
    page.keyboard.press("Control+z")
    assert brush.wait_for_other("") == painted, "undo brings the strokes back"
    page.keyboard.press("Control+Shift+z")
    assert brush.wait_for_other(painted) == "", "the canvas's own undo, which knows redo"
    page.keyboard.press("Control+z")
    brush.wait_for_other("")

    press_run(drawn, server)
    brush.click("large")
    until(drawn, lambda: offered.count() == 3, "the large view offers all three")
    drawn.shot(f"results, large - {drawn.renderer}")
    offered.nth(2).click()
    brush.wait_for_other(painted)
    until(drawn, lambda: near(brush.ground()[48, 64], (0, 255, 0)), "the green picture lies below")
    assert brush.value("photo") not in ("", red)
    page.keyboard.press("Escape")
    offered.first.wait_for(state="detached")
