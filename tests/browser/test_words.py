"""Words in the editor: what people search for, and the pack in Chinese and Japanese, in both renderers."""

from __future__ import annotations

import pytest

from helpers.editor import LANGUAGE, RENDERERS, VUE_NODES, press_run, setting

FIND = """(words) => {
  const stores = document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia._s
  const search = stores.get('nodeDef').nodeSearchService
  return Object.fromEntries(words.map(word => [word, search.searchNode(word).map(found => found.name)]))
}"""
# What people type, and what they should find among the first hits, whatever else is installed.
WANTED = {
    "sketch": {"SketchLoader", "SketchShapeEnergy", "SketchGANDecode"},  # a word of more than 25 nodes' names
    "photo to sketch": {"SketchPhotoToSketch"},
    "scribble": {"SketchLoader", "ShapeInversion", "SketchShapeEnergy"},
    "stroke": {"SketchLoader", "SketchPhotoToStrokes", "NoiseToT0", "GradOpSolve", "SketchRegionsFromStrokes"},
    "img2img": {"NoiseToT0", "GradOpSolve", "SketchT0Sweep"},
    "regional": {"SketchPaintRegion", "SketchRegionsFromStrokes", "CrossAttnRegionMap"},
    "palette": {"SketchRegionsFromStrokes", "SketchPhotoToStrokes"},
    "inpaint": {"NoiseToT0"},
    "style transfer": {"SketchAdaINStyle", "SketchGANStyle", "AppearanceEnergyGuidance"},
    "painting": {"SketchCanvas"},
    "brush": {"SketchCanvas"},
    "canvas": {"SketchCanvas"},
    "live painting": {"SketchCanvas"},
    "涂鸦": {"SketchLoader"},
    "画布": {"SketchCanvas"},
    "图生图": {"NoiseToT0", "GradOpSolve"},
    "局部重绘": {"NoiseToT0"},
    "落書き": {"SketchLoader"},
    "キャンバス": {"SketchCanvas"},
    "インペイント": {"NoiseToT0"},
    "領域": {"SketchPaintRegion", "CrossAttnRegionMap"},
}
FIRST = 25
LANGUAGES = {
    "zh": ("草图/画稿", "加载草图", "文件", "类型", "彩色绘画"),
    "ja": ("スケッチ/絵", "スケッチを読み込む", "ファイル", "種類", "カラーの絵"),
}


def test_people_find_our_nodes(editor):
    found = editor.page.evaluate(FIND, list(WANTED))
    lacking = {word: wanted - set(found[word][:FIRST]) for word, wanted in WANTED.items()}
    assert not {word: nodes for word, nodes in lacking.items() if nodes}, {w: found[w][:FIRST] for w in WANTED}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pack_speaks(editor, language):
    """Category, title, inputs and the names of choices; the graph keeps the English word."""
    category, title, file, kind, choice = LANGUAGES[language]
    page = editor.page
    before = setting(page, LANGUAGE, language)
    try:
        page.wait_for_timeout(500)
        editor.open()
        assert page.evaluate("window.LiteGraph.registered_node_types.SketchLoader.category") == category
        for renderer, vue in RENDERERS.items():
            was = setting(page, VUE_NODES, vue)
            told = page.evaluate(
                """() => {
                    const { graph, canvas } = window.app, node = window.LiteGraph.createNode('SketchLoader')
                    graph.clear()
                    graph.add(node)
                    canvas.ds.scale = 1
                    canvas.ds.offset = [600, 200]
                    const widget = node.widgets.find(one => one.name === 'kind')
                    widget.value = 'colour painting'
                    const names = Object.fromEntries(node.widgets.map(one => [one.name, one.label]))
                    return [node.title, names.image, names.kind, widget._displayValue, widget.value]
                }"""
            )
            assert told == [title, file, kind, choice, "colour painting"], renderer
            if vue:
                page.locator("[data-node-id]").get_by_text(choice).wait_for()
            editor.shot(f"{language} - {renderer}")
            setting(page, VUE_NODES, was)
        assert not editor.errors, editor.errors
    finally:
        setting(page, LANGUAGE, before)
        page.wait_for_timeout(300)


PROMPT = """(words) => {
  const { graph, canvas } = window.app
  const put = (type, x) => {
    const node = window.LiteGraph.createNode(type)
    graph.add(node)
    node.pos = [x, 0]
    return node
  }
  graph.clear()
  const models = put('SketchStarterModels', 0), encode = put('CLIPTextEncode', 350), shown = put('PreviewAny', 850)
  encode.widgets[0].value = words
  models.connect(1, encode, 0)
  encode.connect(0, shown, 0)
  canvas.ds.scale = 1
  canvas.ds.offset = [300, 200]
}"""


def test_a_hint_is_seen_on_the_node(editor, server):
    """Also on a node of ComfyUI's own: words that the starter does not know, on CLIP Text Encode."""
    page = editor.page
    for word, (renderer, vue) in zip(("castle", "dragon"), RENDERERS.items(), strict=True):
        was = setting(page, VUE_NODES, vue)
        page.evaluate(PROMPT, f"a {word} by a lake")  # another one each time: the host encodes no prompt twice
        press_run(editor, server)
        page.get_by_text(f"The starter does not know: {word}. Words that it knows: lake").wait_for()
        editor.shot(f"hint - {renderer}")
        page.evaluate(PROMPT, f"a lake, {'snow' if vue else 'hills'}")
        press_run(editor, server)
        page.wait_for_timeout(500)
        assert not page.get_by_text("The starter does not know").count()
        setting(page, VUE_NODES, was)
    assert not editor.errors, editor.errors
