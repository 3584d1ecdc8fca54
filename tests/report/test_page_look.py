"""How report.html looks: in both themes, on a phone, on paper."""

import pytest

from tests.report.browser import open_page


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


DRAWN = "page.plots.filter((id) => document.getElementById(id).querySelector('.main-svg')).length"


def begun(chromium, path, script):
    """A page that has just begun, with a script of ours before its own."""
    page = chromium.new_context().new_page()
    page.add_init_script(script)
    page.goto(path.as_uri())
    return page


def test_figures_still_waiting_are_drawn_for_paper(chromium, path, opened):
    page = begun(chromium, path, "window.requestIdleCallback = () => {}")
    page.wait_for_selector("html[data-opened]")
    assert page.evaluate(DRAWN) < opened.page.evaluate(DRAWN)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(DRAWN) == opened.page.evaluate(DRAWN)
    assert page.locator("#trouble").is_hidden()


def test_paper_says_that_it_came_before_the_figures(chromium, path, opened):
    """The plot library is unpacked only when the test opens the gate."""
    page = begun(
        chromium,
        path,
        "const text = Response.prototype.text, gate = new Promise((open) => (window.go = open));"
        "Response.prototype.text = async function () { await gate; return text.call(this); }",
    )
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert "print it again" in page.locator("#trouble").inner_text()
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("#trouble").is_hidden()
    page.evaluate("window.go()")
    page.wait_for_selector("html[data-drawn]")
    assert page.evaluate(DRAWN) == opened.page.evaluate(DRAWN)
