"""Nothing from an image or registry gets out of its place: not in HTML, text or errors.

The output of a cell that was run is trusted by Jupyter, scripts in it run: these views are the
only guard.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.sources import MemorySource
from rig.images import make_artifact, make_image, make_index
from views.hostile import CONTROLS, HARMLESS, MARKUP, PAYLOADS, SURROGATES, clean, read, skeleton

import didlab
from didlab.errors import DidlabError
from didlab.model.config import Config
from didlab.oci.config import parse
from didlab.views import cards, html, text


def test_the_reader_sees() -> None:
    styled = "<b style='background:url(x)'></b>"
    for bad in ("<script>", "<b onclick=x></b>", "<b id=x></b>", "<b>", styled):
        with pytest.raises(AssertionError):
            read(bad)
    for bad in ("\x1b", "\x85", "\u202e", "\u200b", "\ud800", "\u2028"):
        with pytest.raises((AssertionError, UnicodeEncodeError)):
            read(bad)
    assert len(PAYLOADS) == len(set(PAYLOADS)) >= 120


# --- the card ---------------------------------------------------------------------------------


def card_facts(payload: str) -> dict[str, dict[str, Any]]:
    """Facts of a card with the payload in one place each."""
    config: dict[str, Any] = {
        "platform": "linux/amd64",
        "created": datetime(2024, 2, 29, tzinfo=UTC),
        "entrypoint": ("/a",),
        "cmd": ("b",),
        "user": "u",
        "layers": 1,
    }
    facts: dict[str, Any] = {
        "reference": "r",
        "location": "l",
        "platform": "p",
        "digest": "sha256:" + "0" * 64,
        "platforms": ["a", "b"],
        "layers": [("sha256:" + "1" * 64, 5)],
        "size": 6,
        "made_by": ["c"],
        "config": config,
    }
    places = {
        "reference": {"reference": payload},
        "location": {"location": payload},
        "platform": {"platform": payload},
        "digest": {"digest": payload},
        "platforms": {"platforms": [payload, "b"]},
        "layer digest": {"layers": [("sha256:" + payload, 5)]},
        "made_by": {"made_by": [payload]},
    }
    inner = {
        "config platform": {"platform": payload},
        "entrypoint": {"entrypoint": (payload,)},
        "cmd": {"cmd": (payload,)},
        "user": {"user": payload},
    }
    found = {name: {**facts, **change} for name, change in places.items()}
    found |= {name: {**facts, "config": {**config, **change}} for name, change in inner.items()}
    return found


def draw(facts: dict[str, Any]) -> str:
    return cards.manifest(lambda: facts, lambda: None, seconds=5)


def test_the_error_on_a_card() -> None:
    for payload in PAYLOADS:
        _the_error_on_a_card(payload)


def _the_error_on_a_card(payload: str) -> None:
    def failing(text_of_it: str) -> Callable[[], None]:
        def look() -> None:
            raise DidlabError(text_of_it, hint=text_of_it)

        return look

    facts = {"reference": "r"}
    made = [
        read(cards.manifest(lambda: facts, failing(one), seconds=5)) for one in (payload, HARMLESS)
    ]
    assert made[0].elements == made[1].elements
    assert "DidlabError" in made[0].text


# --- whole objects ----------------------------------------------------------------------------


def config_with(place: str, payload: str) -> bytes:
    inner: dict[str, dict[str, Any]] = {
        "label key": {"Labels": {payload: "v"}},
        "label value": {"Labels": {"k": payload}},
        "env": {"Env": [f"A={payload}"]},
        "env name": {"Env": [f"{payload}=1"]},
        "entrypoint": {"Entrypoint": [payload]},
        "cmd": {"Cmd": ["sh", "-c", payload]},
        "user": {"User": payload},
        "working dir": {"WorkingDir": payload},
        "port": {"ExposedPorts": {payload: {}}},
        "volume": {"Volumes": {payload: {}}},
        "stop signal": {"StopSignal": payload},
        "health check": {"Healthcheck": {"Test": ["CMD", payload]}},
    }
    outer: dict[str, dict[str, Any]] = {
        "architecture": {"architecture": payload},
        "os": {"os": payload},
        "variant": {"variant": payload},
        "os version": {"os.version": payload},
        "author": {"author": payload},
        "created": {"created": payload},
        "created_by": {"history": [{"created_by": payload}]},
        "comment": {"history": [{"comment": payload}]},
        "history author": {"history": [{"author": payload}]},
        "extra key": {payload: {"x": [payload]}},
    }
    image = make_image(
        [{"a": b"a"}],
        history=[{"created_by": "x"}],
        config_json=outer.get(place),
        **inner.get(place, {}),
    )
    return image.config


PLACES = [
    "label key", "label value", "env", "env name", "entrypoint", "cmd", "user", "working dir",
    "port", "volume", "stop signal", "health check", "architecture", "os", "variant",
    "os version", "author", "created", "created_by", "comment", "history author", "extra key",
]  # fmt: skip


def raw_config(place: str, payload: str) -> bytes:
    # As JSON's escapes: a lone surrogate has no UTF-8.
    return config_with(place, "MARKER").replace(b"MARKER", json.dumps(payload).encode()[1:-1])


def image_with(place: str, payload: str) -> MemorySource:
    """An image whose config has the payload in one place."""
    raw = raw_config(place, payload)
    layers = make_image([{"a": b"a"}])
    built = make_artifact(
        raw,
        "application/vnd.oci.image.config.v1+json",
        layers.layers,
        layers.blobs,
        platform="linux/amd64",
    )
    return MemorySource(latest=built)


def shown(place: str, payload: str) -> dict[str, str] | None:
    """Everything that is shown of such an image; None where it is refused."""
    m = image_with(place, payload).manifest("latest")
    try:
        config = m.config()
    except DidlabError as error:
        return {"error": str(error)}
    m.layers()
    layer = m.layer(0)
    return {
        "card": m._repr_html_(),
        "tree": config._repr_html_(),
        "manifest": repr(m),
        "config": repr(config),
        "layer": repr(layer),
        "layer str": str(layer),
    }


@pytest.mark.parametrize("place", PLACES)
def test_every_field_of_an_image(place: str) -> None:
    twin = shown(place, HARMLESS)
    assert twin is not None
    assert "error" not in twin
    trees = {name: skeleton(twin[name]) for name in ("card", "tree")}
    for name in trees:
        read(twin[name])
    seen = 0
    for payload in PAYLOADS:
        made = shown(place, payload)
        assert made is not None
        if "error" in made:
            clean(made["error"])
            # Lone surrogates in keys are refused as a whole.
            assert payload in SURROGATES
            continue
        seen += 1
        for name in ("card", "tree"):
            clean(made[name])
            assert skeleton(made[name]) == trees[name], (place, name, payload)
        for name in ("manifest", "config", "layer", "layer str"):
            clean(made[name])
            assert len(made[name]) < 2000
    assert seen >= len(PAYLOADS) - len(SURROGATES)


def test_the_payload_is_shown_and_not_dropped() -> None:
    made = shown("label value", "<b>bold</b>")
    assert made is not None
    assert "<b>bold</b>" in read(made["tree"]).text
    made = shown("label value", "\x1b[31m\u202e")
    assert made is not None
    assert "\\x1b[31m\\u202e" in read(made["tree"]).text


def test_platforms_media_types_and_annotations() -> None:
    for payload in [*MARKUP, *CONTROLS]:
        _platforms_media_types_and_annotations(payload)


def _platforms_media_types_and_annotations(payload: str) -> None:
    def build(value: str) -> MemorySource:
        image = make_image([{"a": b"a"}])
        row = image.descriptor(
            platform={"os": value, "architecture": value, "variant": value},
            annotations={value: value},
        )
        index = make_index((image,), descriptors=[row], annotations={value: value})
        return MemorySource(latest=index)

    m = build(payload).manifest("latest")
    try:
        m.digest()
    except DidlabError as error:
        clean(str(error))
        return
    twin = build(HARMLESS).manifest("latest")
    assert read(m._repr_html_()).elements == read(twin._repr_html_()).elements
    clean(repr(m))
    calls = (lambda: m["linux/s390x"].digest(), lambda: m.platform("arm64"), m.layers, m.config)
    for call in calls:
        with pytest.raises(DidlabError) as caught:
            call()
        clean(str(caught.value))
        clean(repr(caught.value))


def test_names_from_the_user() -> None:
    for payload in PAYLOADS:
        _names_from_the_user(payload)


def _names_from_the_user(payload: str) -> None:
    """Text that the user pasted is shown in errors, without its powers."""
    calls: list[Callable[[], Any]] = [
        lambda: didlab.Registry("registry.invalid")["lab/app"][payload].reference,
        lambda: didlab.Registry("registry.invalid")[payload].name,
        lambda: didlab.Registry(payload).name,
        lambda: didlab.Reference.parse(payload),
        lambda: didlab.open("registry.invalid/a", payload),
        lambda: MemorySource(latest=make_image([{"a": b"a"}])).manifest("latest").layer(payload),
        lambda: didlab.set_options(**{payload: 1}),
    ]
    raised = 0
    for call in calls:
        try:
            call()
        except DidlabError as error:
            raised += 1
            clean(str(error))
            clean(repr(error))
            json.dumps([str(error), repr(error)], ensure_ascii=False).encode()
    assert raised >= 5


def test_errors_show_no_controls() -> None:
    for payload in [*CONTROLS, *SURROGATES]:
        _errors_show_no_controls(payload)


def _errors_show_no_controls(payload: str) -> None:
    error = DidlabError(f"a {payload} b", hint=payload, host=payload)
    for shown_text in (str(error), repr(error)):
        clean(shown_text)
        shown_text.encode()


def test_one_line_texts() -> None:
    for payload in PAYLOADS:
        _one_line_texts(payload)


def _one_line_texts(payload: str) -> None:
    lines = [
        text.manifest({"reference": payload, "platform": payload, "digest": f"sha256:{payload}"}),
        text.layer(
            {
                "position": 0,
                "digest": f"sha256:{payload}",
                "size": 1,
                "media_type": payload,
                "created_by": payload,
            }
        ),
        text.repository({"registry": payload, "name": payload}),
        text.registry({"name": payload, "mirrors": [payload]}),
        text.config({"platform": payload, "cmd": [payload], "user": payload, "layers": 0}),
    ]
    for line in lines:
        clean(line)
        line.encode()


# --- sizes ------------------------------------------------------------------------------------

#: For cards and trees alike, in bytes.
CAP = 100_000


@pytest.mark.parametrize(
    "inner",
    [
        {"Labels": {"k": "x" * 4_000_000}},
        {"Labels": {"k": "$" * 4_000_000}},
        {"Labels": {f"k{n}": "v" * 50 for n in range(20_000)}},
        {"Labels": {f"{n}{'$' * 300}": "$" * 300 for n in range(3_000)}},
        {"Env": [f"A{n}=v" for n in range(50_000)]},
        {"Cmd": ["x" * 100_000] * 20},
        {"Deep": json.loads("[" * 50 + "]" * 50)},
        {"Wide": [[list(range(100))] * 100] * 100},
    ],
    ids=["long", "long-escaped", "many", "many-escaped", "env", "cmd", "deep", "wide"],
)
def test_no_output_grows_without_bounds(inner: dict[str, Any]) -> None:
    image = make_image([{"a": b"a"}], **inner)
    config = Config(parse(image.config))
    assert len(config._repr_html_()) < CAP
    assert len(repr(config)) < 2000
    read(config._repr_html_())
    m = MemorySource(latest=image).manifest("latest")
    assert len(m._repr_html_()) < CAP
    assert len(repr(m)) < 2000


def test_a_card_of_very_many_layers_and_platforms() -> None:
    facts = card_facts(HARMLESS)["made_by"]
    facts["layers"] = [("sha256:" + "1" * 64, 5)] * 10_000
    facts["made_by"] = ["$" * 1000] * 10_000
    facts["platforms"] = [f"linux/{'$' * 50}"] * 10_000
    drawn = draw(facts)
    assert len(drawn) < CAP
    read(drawn)
    facts["made_by"] = ["x"] * 10_000
    assert "9982 smaller layers" in read(draw(facts)).text
    assert "and 9802 more" in read(draw(facts)).text


def test_extremes_do_not_break_the_card() -> None:
    for layers in ([], [("sha256:" + "1" * 64, 0)], [("sha256:" + "1" * 64, 2**63 - 1)]):
        facts = {**card_facts(HARMLESS)["made_by"], "layers": layers, "made_by": None}
        assert "no card" not in draw(facts)
        read(draw(facts))
    assert "unknown" not in draw({"reference": "r", "config": {}})


@given(st.text(), st.integers(1, 400))
def test_any_text_stays_in_its_place(value: str, limit: int) -> None:
    found = read(html.wrap(html.mono(value, limit)))
    assert len(found.elements) == 2
    assert len(found.text) <= 6 * limit


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_any_tree_is_well_formed(value: Any) -> None:
    read(html.tree({"k": value}, title="t"))


def test_no_formatting_of_remote_text_as_markdown_or_latex() -> None:
    root = Path(didlab.__file__).parent
    for path in root.rglob("*.py"):
        source = path.read_text("utf-8")
        for word in ("_repr_markdown_", "_repr_latex_", "_repr_javascript_", "Markdown("):
            assert word not in source, (path, word)
