"""What nodes say: every line is one line in both renderers."""

from __future__ import annotations

from helpers.canvas import graph
from helpers.editor import press_run

LINES = """() => {
  const text = /Copy into legend/
  const shown = [...document.querySelectorAll('p, div, span, textarea')].filter(one => one.checkVisibility())
  const found = shown.filter(one => text.test(one.value ?? one.innerText)).pop()
  return (found?.value ?? found?.innerText ?? '').split('\\n').map(line => line.trim())
}"""


def test_a_list_of_colours_has_a_line_for_each(editor, server, renderer):
    """With an empty legend the node lists the colours, to be copied into it: two of them here. Others for each
    renderer, for a node that need not run again says nothing."""
    left = 0x204060 if renderer == "classic" else 0x205060
    graph(
        editor,
        {
            "left": ["EmptyImage", 0, 0, {"width": 64, "height": 64, "color": left}],
            "right": ["EmptyImage", 0, 300, {"width": 64, "height": 64, "color": 0x903010}],
            "both": ["ImageStitch", 300, 0, {}],
            "legend": ["SketchRegionsFromStrokes", 620, 0, {"legend": ""}],
            "shown": ["PreviewImage", 1100, 0, {}],
        },
        [
            ["left", "IMAGE", "both", "image1"],
            ["right", "IMAGE", "both", "image2"],
            ["both", "IMAGE", "legend", "image"],
            ["legend", "preview", "shown", "images"],
        ],
    )
    press_run(editor, server)
    for _ in range(round(50 * editor.patience)):  # what is said comes before the run's end, and shows a little later
        if len(editor.page.evaluate(LINES)) > 1:
            break
        editor.page.wait_for_timeout(100)
    lines = editor.page.evaluate(LINES)
    editor.shot(f"told - {renderer}")
    assert lines[0].endswith(":")
    assert {line.split(":")[0] for line in lines[1:]} == {f"#{left:06x}", "#903010"}, lines
    assert not editor.errors, editor.errors
