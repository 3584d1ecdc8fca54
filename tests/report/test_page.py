"""report.html in a real browser: it draws, can be used, asks nobody, and shows text as text."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from report import canonical, pages
from report.build import Run, build
from report.html import render
from report.scene import Entry
from tests.report import simulate
from tests.report.browser import Opened, browser, open_page
from tests.report.folder import Folder, meta

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked=2'>"
RIGHT_TO_LEFT = "שלום עולם: مرحبا بالعالم"
LONG = "word " * 200_000
MODEL = "tiny<b onmouseover=hacked()>bold</b>{{ 7*7 }}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


def make(path: Path) -> Path:
    """A run with a failed backend and with names and prompts from a hostile outside."""
    folder = simulate.run_folder(Folder(path), gpu=True)
    cut = path / "cells" / "hf-static.r0"  # interrupted after its last phase: traces are whole
    folder.about(cut, "hf-static", status="interrupted", reason="stopped by the user")
    failed = path / "cells" / "hf-paged.r0"
    failed.mkdir()
    folder.about(failed, "hf-paged", status="oom", reason=HOSTILE, log_tail=[HOSTILE, "last line"])
    texts = [HOSTILE, RIGHT_TO_LEFT, LONG, None]
    requests = [
        {"id": name, "text": text, "prompt_ids": [1] * prompt, "output_tokens": output}
        for (name, prompt, output), text in zip(
            simulate.asked(), texts + ["plain"] * 12, strict=True
        )
    ]
    (path / "workload.json").write_text(json.dumps({"requests": requests}))
    model = {**meta()["model"], "name": MODEL}
    environment = {"cpu": {"model": HOSTILE, "cores": 2}, "versions": {"vllm": "0.32.0"}}
    run = Run(path)
    result = build(path, meta(device="cuda", model=model, environment=environment), run)
    (path / "result.json").write_bytes(canonical.dumps(result))
    return pages.write(path, result, run)[1]


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def opened(chromium, path) -> Opened:
    return open_page(chromium, path)


def text_of(opened: Opened, selector: str) -> str:
    return str(opened.page.locator(selector).inner_text())


def test_nothing_is_requested_and_nothing_is_complained_about(opened, path):
    assert opened.requests == [path.as_uri()]
    assert opened.errors == []
    assert opened.page.locator("#trouble").is_hidden()


def test_no_plot_offers_to_upload_itself(opened):
    buttons = opened.page.evaluate(
        "[...new Set([...document.querySelectorAll('.modebar-btn')].map((b) => b.dataset.title))]"
    )
    assert set(buttons) == {"Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}


def test_the_page_is_small(path):
    assert path.stat().st_size < 3_000_000


def test_every_plot_has_data(opened):
    plots = opened.page.evaluate(
        "page.plots.map((id) => ({id, hidden: document.getElementById(`${id}-figure`)?.hidden,"
        " traces: (document.getElementById(id).data || []).length,"
        " drawn: document.getElementById(id).querySelectorAll('.main-svg').length}))"
    )
    assert len(plots) >= 10
    assert all(plot["hidden"] or (plot["traces"] and plot["drawn"]) for plot in plots), plots


def test_the_first_figure_is_there_before_the_others(opened):
    """Both are milliseconds since the navigation began."""
    opened_ms, drawn_ms = opened.page.evaluate(
        "['opened', 'drawn'].map((name) => Number(document.documentElement.dataset[name]))"
    )
    assert 0 < opened_ms < drawn_ms


def test_gaps_between_tokens_are_all_counted(opened):
    shares = opened.page.evaluate(
        "document.getElementById('itl').data.map((t) => t.y.reduce((a, b) => a + b, 0))"
    )
    assert len(shares) == 4
    assert shares == pytest.approx([1] * 4, abs=1e-3)


def test_lines_carry_the_numbers_of_the_traces(opened, path):
    cells = json.loads((path.parent / "result.json").read_bytes())["cells"]
    live = opened.page.evaluate(
        "Math.max(...document.getElementById('kv').data.filter((t) => t.name === 'live')[3].y)"
    )
    assert live == next(cell["kv"]["peak_live"] for cell in cells if cell["label"] == "vllm")


def test_hovering_one_plot_shows_all_at_that_time(opened):
    layout = opened.page.evaluate(
        "(({hoversubplots, hovermode, xaxis2}) => ({hoversubplots, hovermode, other: !!xaxis2}))"
        "(document.getElementById('memory')._fullLayout)"
    )
    assert layout == {"hoversubplots": "axis", "hovermode": "x", "other": False}


def test_the_backends_memory_can_have_one_scale(opened):
    ranges = "['yaxis2', 'yaxis3'].map((a) => document.getElementById('memory').layout[a].matches)"
    assert opened.page.evaluate(ranges) == [None, None]
    opened.page.locator("#memory-scale").check()
    assert opened.page.evaluate(ranges) == ["y", "y"]
    opened.page.locator("#memory-scale").uncheck()


def canvas(opened: Opened, which: int) -> str:
    """The pixels of a canvas of the block map."""
    found = opened.page.evaluate(f"document.querySelectorAll('.panel canvas')[{which}].toDataURL()")
    return str(found)


def test_the_block_map_is_drawn_for_every_backend_with_blocks(opened):
    assert opened.page.locator(".panel").count() == 4
    colours = opened.page.evaluate(
        "[...document.querySelectorAll('.panel canvas')].map((c) => new Set(new Uint32Array("
        "c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size)"
    )
    assert all(number > 2 for number in colours), colours


def test_the_block_map_scrubs_by_keyboard(opened):
    scrub = opened.page.locator("#scrub")
    scrub.focus()
    scrub.press("Home")
    before = canvas(opened, 1), text_of(opened, ".panel p >> nth=0")
    scrub.press("End")
    after = canvas(opened, 1), text_of(opened, ".panel p >> nth=0")
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert text_of(opened, "#scrub-time") == "100 % of each run"


def test_the_block_map_plays_and_pauses_by_keyboard(opened):
    play = opened.page.locator("#play")
    opened.page.locator("#scrub").fill("0")
    play.focus()
    play.press("Enter")
    assert text_of(opened, "#play") == "Pause"
    while int(opened.page.locator("#scrub").input_value()) < 5:  # the test's time-out ends it
        opened.page.wait_for_timeout(20)
    play.press("Enter")
    assert text_of(opened, "#play") == "Play"
    stopped = opened.page.locator("#scrub").input_value()
    opened.page.wait_for_timeout(200)
    assert opened.page.locator("#scrub").input_value() == stopped


def test_a_request_can_be_followed_to_its_page_table(opened):
    opened.page.locator("#scrub").fill("100")
    opened.page.locator("#follow").select_option("r000")
    pages_of = [text_of(opened, f".pages >> nth={i}") for i in range(4)]
    assert "→ block" in pages_of[3]
    assert "row 0" in pages_of[2]
    assert "holds nothing now" in pages_of[0] + pages_of[1]
    opened.page.locator("#follow").select_option("")
    assert text_of(opened, ".pages >> nth=3") == ""


def test_a_click_in_the_map_picks_request_and_time(opened):
    picture = opened.page.locator(".panel canvas >> nth=6")
    width = picture.bounding_box()["width"]
    picture.click(position={"x": width * 0.1, "y": 4})
    assert opened.page.locator("#follow").input_value() == "r000"
    assert 95 <= int(opened.page.locator("#scrub").input_value()) <= 105
    opened.page.locator("#follow").select_option("")


def test_requests_are_searched(opened):
    rows = opened.page.locator("#requests tbody tr")
    assert rows.count() == 16
    opened.page.locator("#search").fill("PLAIN")
    assert rows.count() == 12
    opened.page.locator("#search").fill("مرحبا")
    assert rows.count() == 1
    opened.page.locator("#search").fill("")


def test_outside_text_is_shown_as_text(opened):
    assert opened.page.evaluate("window.hacked") is None
    assert MODEL in text_of(opened, "h1")
    table = text_of(opened, "#requests")
    assert HOSTILE in table
    assert RIGHT_TO_LEFT in table
    assert "1,000,000 characters in all" in table
    assert HOSTILE in text_of(opened, "#comparison pre")
    assert HOSTILE in text_of(opened, ".about")
    assert opened.page.locator("img").count() == 0


def test_the_gantt_shows_the_backend_that_is_chosen(opened):
    last = "Math.max(...document.getElementById('gantt').data[2].base)"
    paged = opened.page.evaluate(last)
    opened.page.locator("#gantt-cell").select_option(label="hf-sequential")
    assert opened.page.evaluate(last) > paged


def test_all_controls_are_reached_with_the_tab_key(opened):
    opened.page.evaluate("document.activeElement.blur(), window.scrollTo(0, 0)")
    seen = set()
    for _ in range(150):
        opened.page.keyboard.press("Tab")
        seen.add(opened.page.evaluate("document.activeElement.id"))
    wanted = {"theme", "play", "scrub", "pace", "follow", "same-scale", "gantt-cell", "search"}
    assert wanted <= seen


def test_the_theme_button_turns_plots_too(opened):
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "document.getElementById('memory').layout.font.color"
    light = opened.page.evaluate(f"[{ground}, {ink}]")
    opened.page.locator("#theme").click()
    opened.page.locator("#theme").click()
    dark = opened.page.evaluate(f"[{ground}, {ink}]")
    opened.page.locator("#theme").click()
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    assert opened.page.evaluate(f"[{ground}, {ink}]") == light


CONTRAST = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const found = rgb(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] > 0.99) return found;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const node of document.querySelectorAll("body *")) {
    const text = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!text || !node.checkVisibility() || ["SCRIPT", "STYLE"].includes(node.tagName)) continue;
    const inSvg = node.closest("svg");
    if (inSvg && node.closest(".bars, .barlayer, .hoverlayer")) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(rgb(inSvg ? style.fill : style.color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push([ratio.toFixed(2), node.tagName, node.textContent.slice(0, 40)]);
  }
  return bad;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_contrast_is_aa(chromium, path, theme):
    opened = open_page(chromium, path, theme=theme)
    assert opened.page.evaluate("document.documentElement.dataset.theme") == theme
    assert opened.page.evaluate(CONTRAST) == []


def test_a_phone_shows_it_without_sideways_scrolling(chromium, path):
    opened = open_page(chromium, path, width=375)
    assert opened.errors == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 375
    wide = opened.page.evaluate(
        "[...document.querySelectorAll('.plot .main-svg, canvas, button, select, input')]"
        ".filter((e) => e.getBoundingClientRect().right > 376).map((e) => e.id || e.tagName)"
    )
    assert wide == []


def test_it_prints(chromium, path):
    opened = open_page(chromium, path, theme="dark")
    opened.page.emulate_media(media="print")
    assert opened.page.locator("nav").is_hidden()
    assert opened.page.pdf()[:4] == b"%PDF"


def test_plots_are_drawn_anew_for_paper_and_for_the_screen_again(opened):
    widths = (
        "[...document.querySelectorAll('figure:not([hidden]) > .plot')]"
        ".map((e) => [e.querySelector('.main-svg').clientWidth, e.clientWidth])"
    )
    theme = "document.documentElement.dataset.theme"
    before = opened.page.evaluate(widths), opened.page.evaluate(theme)
    opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    paper = opened.page.evaluate(widths)
    assert opened.page.evaluate(theme) == "light"
    assert all(plot == room <= 700 for plot, room in paper), paper
    opened.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert (opened.page.evaluate(widths), opened.page.evaluate(theme)) == before


def test_two_runs_are_overlaid(chromium, tmp_path):
    base, head = tmp_path / "base", tmp_path / "head"
    for folder in (base, head):
        folder.mkdir()
        make(folder)
    out = pages.overlay(base, head, (str(base), "head"), tmp_path / "both.html")
    opened = open_page(chromium, out)
    assert opened.errors == []
    names = opened.page.evaluate("document.getElementById('memory').data.map((t) => t.name)")
    assert "From base to head" in text_of(opened, "#headline")
    assert "throughput" in text_of(opened, ".changes")
    assert "base: vllm" in names  # its folder's name, not its path
    assert "head: vllm" in names
    assert opened.page.locator(".panel").count() == 8


def test_a_result_without_traces_still_has_its_tables(chromium, path, tmp_path):
    bare = tmp_path / "bare.html"
    bare.write_text(render([Entry(build(path.parent, meta(device="cuda")))]))
    opened = open_page(chromium, bare)
    assert opened.errors == []
    assert "memory efficiency" in text_of(opened, "#comparison")
