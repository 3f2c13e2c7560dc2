"""Cards as a browser draws them: run, stored in a notebook that nobody trusts, in the dark."""

from __future__ import annotations

import re

import nbformat
import pytest
from rig.faults import FaultServer
from rig.images import make_image
from views.hostile import MARKUP

import didlab

#: What is drawn: every element with its size, and every text.
_DRAWN = """(card) => [...card.querySelectorAll('*')].map((one) => {
  const box = one.getBoundingClientRect();
  const texts = [...one.childNodes].filter((node) => node.nodeType === 3);
  return [one.tagName, Math.round(box.width), Math.round(box.height),
          texts.map((node) => node.data).join()];
})"""
_NAMES = """(all) => ({
  tags: all.map((one) => one.tagName.toLowerCase()),
  attributes: all.flatMap((one) => [...one.attributes].map((each) => each.name)),
})"""
_TAGS = {
    *("div", "span", "b", "bdi", "details", "summary"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
#: The colour of a text, and what is painted behind it by its own boxes or the page.
_COLOURS = """(card) => {
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!/^rgba/.test(colour)) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  return [getComputedStyle(card).color, behind(card)];
}"""


@pytest.fixture(scope="module")
def hub():
    with didlab.sandbox() as hub:
        yield hub


def cards(hub) -> dict[str, str]:
    m = hub["demo/web"]["1.27"]
    made = (hub, hub["demo/web"], m, m["linux/arm64"], m.config(), m["linux/arm64"].layer(1))
    return {f"{number}-{type(one).__name__}": one._repr_html_() for number, one in enumerate(made)}


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_notebook_nobody_trusts_shows_the_same_cards(jupyter, hub, app):
    """Outputs that were stored and never run go through the page's sanitizer."""
    shown = cards(hub)
    kernel = {"name": "python3", "display_name": "Python 3"}
    stored = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    for html in shown.values():
        output = nbformat.v4.new_output("display_data", {"text/html": html, "text/plain": "text"})
        stored.cells.append(nbformat.v4.new_code_cell("'stored'", outputs=[output]))
    code = f"from IPython.display import HTML, display\nfor one in {[*shown.values()]!r}:\n"
    stored.cells.append(nbformat.v4.new_code_cell(f"{code}    display(HTML(one))"))
    with jupyter.notebook(stored, app=app) as page:
        found = page.output(".didlab")
        found.nth(len(shown) - 1).wait_for()
        assert found.count() == len(shown)
        untrusted = [found.nth(number).evaluate(_DRAWN) for number in range(len(shown))]
        page.picture(f"{app}-untrusted")
        page.begin(len(shown))
        found.nth(2 * len(shown) - 1).wait_for()
        for number, name in enumerate(shown):
            ran = found.nth(len(shown) + number).evaluate(_DRAWN)
            assert len(ran) > 5
            assert untrusted[number] == ran, name


def test_what_an_image_says_is_read_and_runs_nowhere(jupyter):
    """Every payload in every label and variable: no element is made of it, in light and dark."""
    image = make_image(
        [{"a": b"a"}],
        history=[{"created_by": f"RUN {'; '.join(MARKUP[:20])}"}],
        Labels={f"{number}{text}": text for number, text in enumerate(MARKUP)},
        Env=[f"V{number}={text}" for number, text in enumerate(MARKUP)],
        Cmd=MARKUP[:5],
    )
    with FaultServer() as server:
        server.add_image("lab/evil", "1", image)
        first = f"import didlab\nm = didlab.open('{server.host}/lab/evil:1')\nm"
        with jupyter.notebook([first, "m.config()", "m.layer(0)"]) as page:
            page.run()
            card = page.output(".didlab")
            assert card.count() == 3
            made = page.output(".didlab *").evaluate_all(_NAMES)
            assert set(made["tags"]) <= _TAGS
            assert set(made["attributes"]) <= {"style", "class", "open"}
            light = card.first.evaluate(_COLOURS)
            with page.dark():
                page.page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
                dark = card.first.evaluate(_COLOURS)
                page.picture("evil-dark")
    for text, behind in (light, dark):
        assert abs(_brightness(text) - _brightness(behind)) > 120, (light, dark)
    assert _brightness(light[1]) > 200 > 80 > _brightness(dark[1])


def _brightness(colour: str) -> float:
    red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
    return 0.3 * red + 0.59 * green + 0.11 * blue
