"""report.html in a real browser: it draws, can be used, asks nobody, and shows text as text."""

import json

import pytest

from measure.build import build
from report import pages
from report.html import render
from report.scene import Exhibit
from tests.measure.folder import meta
from tests.report import outside
from tests.report.browser import Opened, open_page


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
    assert outside.MODEL in text_of(opened, "h1")
    table = text_of(opened, "#requests")
    assert outside.HOSTILE in table
    assert outside.RIGHT_TO_LEFT in table
    assert "1,000,000 characters in all" in table
    assert outside.HOSTILE in text_of(opened, "#comparison pre")
    assert outside.HOSTILE in text_of(opened, ".about")
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


def test_two_runs_are_overlaid(chromium, tmp_path):
    base, head = tmp_path / "base", tmp_path / "head"
    for folder in (base, head):
        folder.mkdir()
        outside.make(folder)
    out = pages.overlay(base, head, (str(base), "head"), tmp_path / "both.html")
    opened = open_page(chromium, out)
    assert opened.errors == []
    names = opened.page.evaluate("document.getElementById('memory').data.map((t) => t.name)")
    assert "From base to head" in text_of(opened, "#headline")
    assert "run rate" in text_of(opened, ".changes")
    assert "base: vllm" in names  # its folder's name, not its path
    assert "head: vllm" in names
    assert opened.page.locator(".panel").count() == 8


def test_a_result_without_traces_still_has_its_tables(chromium, path, tmp_path):
    bare = tmp_path / "bare.html"
    bare.write_text(render([Exhibit(build(path.parent, meta(device="cuda")))]))
    opened = open_page(chromium, bare)
    assert opened.errors == []
    assert "memory efficiency" in text_of(opened, "#comparison")
