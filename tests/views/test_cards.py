"""Cards: nothing gets out of its place, nothing grows, nothing that looks like a secret shows."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from model.sources import MemorySource
from rig.images import make_artifact, make_image, make_index
from views.examples import CARDS, CONFIG, DIGEST, IMAGE, INDEX, OTHER, everywhere, poisoned
from views.hostile import HARMLESS, PAYLOADS, SURROGATES, clean, read, skeleton

from didlab.export.loaded import LoadedImage, LoadReport
from didlab.export.push_report import CopyReport
from didlab.export.report import SavedImage, SaveReport
from didlab.files.extract import Extracted
from didlab.model.registry import Registry
from didlab.oci import statement
from didlab.views import cards, commands, secrets, text
from didlab.views.cards import parts, warnings

#: Bytes of the largest card.
LIMIT = 100_000

# --- escaping ---------------------------------------------------------------------------------


def test_the_skeleton_sees() -> None:
    assert skeleton("<b>a &lt; b</b>") == ["<b>", "</b>"]
    for bad in ("a < b", "a & b", "<b>'</b>", "&nbsp;", "$x$", "\\(x"):
        with pytest.raises(AssertionError):
            skeleton(bad)


@pytest.mark.parametrize("name", CARDS)
def test_every_payload_in_every_field(name: str) -> None:
    draw, facts = CARDS[name]
    twins = {place: skeleton(draw(changed)) for place, changed in poisoned(facts, HARMLESS)}
    assert len(twins) >= 3
    for payload in PAYLOADS:
        for place, changed in poisoned(facts, payload):
            page = draw(changed)
            assert "no card" not in page, (place, payload)
            assert skeleton(page) == twins[place], (place, payload)


@pytest.mark.parametrize("name", CARDS)
def test_a_parser_sees_the_same(name: str) -> None:
    draw, facts = CARDS[name]
    twin = read(draw(everywhere(facts, HARMLESS)))
    for payload in PAYLOADS:
        assert read(draw(everywhere(facts, payload))).elements == twin.elements, payload


#: What is a fact for others (reprs, other cards) or decides what is drawn.
UNSEEN = {
    "image": [".location", ".config.platform"],
    "index": [".location", ".platforms[0]", ".platforms[1]"],
}


@pytest.mark.parametrize("name", CARDS)
def test_what_is_in_a_field_is_seen(name: str) -> None:
    # Else the tests above would hold for an empty card.
    draw, facts = CARDS[name]
    unseen = [
        place
        for place, changed in poisoned(facts, "sha256:zebra")
        if "zebra" not in read(draw(changed)).text
    ]
    assert unseen == UNSEEN.get(name, [])


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("long", ["x" * 1_000_000, "$" * 1_000_000, "中" * 1_000_000])
def test_megabytes_do_not_make_a_card_grow(name: str, long: str) -> None:
    draw, facts = CARDS[name]
    page = draw(everywhere(facts, long))
    assert "no card" not in page
    assert len(page.encode()) <= LIMIT
    read(page)


def test_very_many_of_everything() -> None:
    many = {f"name{n}": "$" * 500 for n in range(5_000)}
    config = {
        **CONFIG,
        "env": many,
        "labels": many,
        "cmd": ("$" * 500,) * 5_000,
        "ports": tuple(many),
        "json": {"config": {"Env": [f"A{n}={'中' * 300}" for n in range(5_000)]}},
        "image_id": DIGEST,
    }
    layers = {
        "layers": [(DIGEST, 5)] * 5_000,
        "media_types": ["$" * 500] * 5_000,
        "made_by": ["$" * 5_000] * 5_000,
    }
    row = INDEX["index"][0]
    drawn = [
        cards.config(config),
        _card({**IMAGE, **layers, "config": config, "annotations": many}),
        _card({**INDEX, "index": [{**row, "platform": "$" * 500}] * 5_000, "platforms": [*many]}),
        cards.repository({"registry": "a", "name": "b", "tags": ["$" * 300] * 5_000}),
        cards.saved(
            {**CARDS["saved"][1], "notes": ["$" * 5_000] * 5_000, "served": {**_numbers()}}
        ),
        cards.extracted({**CARDS["extracted"][1], "skipped": [("$" * 500, "$" * 500)] * 5_000}),
    ]
    for page in drawn:
        assert "no card" not in page
        assert len(page.encode()) <= LIMIT
        read(page)
    assert "layers" in read(drawn[1]).text, "the layers are what a card is for"


def _numbers() -> dict[str, int]:
    return {f"{'$' * 300}{n}": n for n in range(5_000)}


def _card(facts: dict[str, Any]) -> str:
    return cards.manifest(lambda: facts, lambda: None, seconds=60)


# --- styles -----------------------------------------------------------------------------------

_LENGTH = r"(?:0|-?[0-9.]+(?:px|em|%))"
_COLOUR = r"(?:rgba\(\d{1,3},\d{1,3},\d{1,3},(?:1|0(?:\.\d+)?)\)|transparent)"
#: What JupyterLab's sanitizer lets a notebook have that nobody trusts yet (its sanitizer.ts).
STYLES = {
    "background": _COLOUR,
    "border": rf"none|{_LENGTH} solid {_COLOUR}",
    "border-bottom": rf"{_LENGTH} solid {_COLOUR}",
    "border-collapse": "collapse",
    "border-left": rf"{_LENGTH} solid {_COLOUR}",
    "border-radius": _LENGTH,
    "border-right": rf"{_LENGTH} solid {_COLOUR}",
    "cursor": "pointer",
    "display": "inline-block|flex",
    "font-family": r"[a-z-]+(?:,[a-z-]+)*",
    "font-size": _LENGTH,
    "font-weight": "[4-7]00",
    "height": _LENGTH,
    "line-height": "[0-9.]+",
    "margin": rf"{_LENGTH}(?: {_LENGTH}){{0,3}}",
    "margin-right": _LENGTH,
    "margin-top": _LENGTH,
    "max-height": _LENGTH,
    "max-width": rf"none|{_LENGTH}",
    "min-width": _LENGTH,
    "opacity": r"0\.\d+",
    "overflow": "auto|hidden",
    "overflow-x": "auto",
    "padding": rf"{_LENGTH}(?: {_LENGTH}){{0,3}}",
    "padding-left": _LENGTH,
    "table-layout": "auto",
    "text-align": "left|right",
    "text-overflow": "ellipsis",
    "vertical-align": rf"top|{_LENGTH}",
    "white-space": "nowrap|pre|pre-wrap",
    "width": _LENGTH,
    "word-wrap": "break-word",
}
#: Lost there, and not missed.
LOST = {"overflow-wrap": "anywhere", "font-variant-numeric": "tabular-nums"}


@pytest.mark.parametrize("name", CARDS)
def test_styles_survive_in_a_notebook_that_nobody_trusts(name: str) -> None:
    draw, facts = CARDS[name]
    seen = 0
    for tag, attributes in read(draw(facts)).elements:
        for attribute, value in attributes:
            if attribute != "style":
                continue
            for declaration in str(value).split(";"):
                style, _, given = declaration.partition(":")
                known = {**STYLES, **LOST}[style]
                assert re.fullmatch(known, given), (tag, declaration)
                seen += 1
    assert seen > 10


# --- secrets ----------------------------------------------------------------------------------

SECRETS = [
    ("DB_PASSWORD", "hunter2-canary"),
    ("NPM_TOKEN", "canary-abcdef"),
    ("AWS_SECRET_ACCESS_KEY", "canary/abc+def"),
    ("API_KEY", "canary123"),
    ("com.example.apiKey", "canary123"),
    ("client-secret", "canary123"),
    ("KEY", "canary123"),
    ("AWS_ID", "AKIACANARYCANARY1234"),
    ("X", "ghp_canary0123456789canary0123456789"),
    ("X", "github_pat_canary0123456789_abcdefgh"),
    ("X", "glpat-canary0123456789ab"),
    ("X", "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOiJ4In0.canaryabc"),
    ("CERT", "-----BEGIN RSA PRIVATE KEY-----\ncanary\n-----END RSA PRIVATE KEY-----"),
    ("CERT", "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary"),
    ("DATABASE_URL", "postgres://me:canary@db:5432/x"),
    ("X", "run --password canary-1 --verbose"),
    ("X", '{"token": "canary"}'),
]
PLAIN = [
    ("GPG_KEY", "canary0123"),
    ("PYTHON_SHA256", "canary"),
    ("POSTGRES_PASSWORD_FILE", "/run/canary"),
    ("TOKEN", "$CANARY_canary"),
    ("AUTHOR", "canary"),
    ("MONKEY", "canary"),
    ("COMPASS", "canary"),
    ("TOKEN_URL", "https://canary.example"),
    ("PATH", "/canary/bin"),
    ("CERT", "-----BEGIN CERTIFICATE-----\ncanary"),
]


def with_secret(name: str, value: str) -> MemorySource:
    image = make_image(
        [{"a": b"a"}],
        history=[{"created_by": f"ENV {name}={value!r}"}],
        Env=[f"{name}={value}"],
        Labels={name: value},
        Cmd=["sh", "-c", f"run {name}={value!r}"],
        Healthcheck={"Test": ["CMD", f"{name}={value}"]},
    )
    return MemorySource(latest=image)


def shown(name: str, value: str) -> dict[str, str]:
    m = with_secret(name, value).manifest("latest")
    config = m.config()
    return {
        "card": m._repr_html_(),
        "config": config._repr_html_(),
        "layer": m.layer(0)._repr_html_(),
        "repr": repr(config) + repr(m.layer(0)),
    }


@pytest.mark.parametrize(("name", "value"), SECRETS)
def test_what_looks_like_a_secret_is_hidden(name: str, value: str) -> None:
    for where, page in shown(name, value).items():
        assert "canary" not in page.lower(), where
        assert "hunter2" not in page, where
        assert secrets.MASK in page, where
    m = with_secret(name, value).manifest("latest")
    assert "looks like a secret, hidden here" in m._repr_html_()
    # Only what is shown: who asks gets it.
    assert m.config().env[name] == value


@pytest.mark.parametrize(("name", "value"), PLAIN)
def test_what_is_no_secret_is_shown(name: str, value: str) -> None:
    pages = shown(name, value)
    for where in ("card", "config"):
        assert "canary" in pages[where].lower(), where
    assert "looks like a secret" not in pages["card"]


@pytest.mark.parametrize("limit", range(0, 400, 7))
def test_no_cut_goes_through_a_secret(limit: int) -> None:
    # Wherever a text is cut, what is left of a secret would still be one.
    pad = "x " * limit
    for secret in ("AKIACANARYCANARY1234", "https://me:canary@host/", "--token canary"):
        assert "canary" not in parts.mono(f"{pad}{secret}").lower()
        assert "canary" not in parts.command(f"{pad}{secret}", "").lower()
        made_by = [f"RUN {pad}{secret}", f"{'y' * (limit % 120)} {secret}"]
        assert "canary" not in _card({**IMAGE, "made_by": made_by}).lower()


def test_names_of_images_are_not_taken_for_secrets() -> None:
    page = _card({**IMAGE, "reference": "registry.example/lab/token:1.2.3"})
    assert "lab/token:1.2.3" in read(page).text


# --- what a card says -------------------------------------------------------------------------


def test_an_image() -> None:
    page = read(_card(IMAGE)).text
    for words in (
        "nginx:1.27",
        "linux/amd64",
        "sha256:0123456789ab ",
        "created 2024-02-29 UTC, ",
        " years ago",
        "2 layers, 30.0 MB to download",
        "ADD file:0 in /",
        "RUN make",
        "attested",
        "converted from schema 1",
        "Debian GNU/Linux 10 has had no updates since 2024-06-30",
        '/entry.sh serve -g "daemon off;"',
        "environment 1",
        "labels 1",
        "80/tcp",
        "/data",
        "/srv",
        "www",
    ):
        assert words in page, words
    for words in ("runs as root", "#(nop)", "buildkit", "/bin/sh"):
        assert words not in page, words


def test_an_index() -> None:
    page = read(_card(INDEX)).text
    assert "index" in page
    assert "2 platforms" in page
    assert "shown below" in page
    assert "linux/amd64 · 2 layers" in page


def test_bars_are_proportional() -> None:
    facts = {**IMAGE, "layers": [(DIGEST, 1_000), (OTHER, 250)], "size": 1_300}
    widths = re.findall(r"width:([0-9.]+)%;min-width:1px", _card(facts))
    assert widths == ["100.0", "25.0"]
    strip = re.findall(r"width:([0-9.]+)%;min-width:2px", _card(facts))
    assert strip == ["80.00", "20.00"]


def test_a_hundred_layers_show_the_largest_and_fold_the_rest() -> None:
    layers = [(DIGEST, 1000 + n) for n in range(127)]
    facts = {
        **IMAGE,
        "layers": layers,
        "media_types": ["x"] * 127,
        "made_by": [f"RUN step-{n}" for n in range(127)],
    }
    page = _card(facts)
    assert len(page.encode()) <= LIMIT
    seen = read(page).text
    assert "127 layers" in seen
    assert "109 smaller layers" in seen
    assert all(f"step-{n}" in seen for n in range(127))


@pytest.mark.parametrize(
    ("user", "platform", "root"),
    [
        ("", "linux/amd64", True),
        ("root", "linux/amd64", True),
        ("0:0", "linux/amd64", True),
        ("root:wheel", "linux/amd64", True),
        ("1000", "linux/amd64", False),
        ("www:root", "linux/amd64", False),
        ("", "windows/amd64", False),
    ],
)
def test_runs_as_root(user: str, platform: str, root: bool) -> None:
    page = _card({**IMAGE, "config": {**CONFIG, "user": user, "platform": platform}})
    assert ("runs as root" in page) is root


@pytest.mark.parametrize(
    ("system", "said"),
    [
        (None, 0),
        ({"name": "Debian 13", "end_of_life": date(2030, 6, 30)}, 0),
        ({"name": "Debian 10", "end_of_life": date(2024, 6, 30)}, 1),
        ({"name": None, "end_of_life": datetime(2024, 6, 30, tzinfo=UTC)}, 1),
        ({"name": "x", "end_of_life": "yesterday"}, 0),
        ({}, 0),
    ],
)
def test_end_of_life(system: Any, said: int) -> None:
    found = warnings.of({"os": system}, date(2026, 1, 1))
    assert len(found) == said


def test_commands_are_cleaned() -> None:
    table = {
        '/bin/sh -c #(nop)  CMD ["nginx"]': 'CMD ["nginx"]',
        "/bin/sh -c #(nop) ADD file:" + "a" * 64 + " in / ": "ADD file:aaaaaa… in /",
        "RUN /bin/sh -c apt-get update # buildkit": "RUN apt-get update",
        "RUN |1 A=b /bin/sh -c make # buildkit": "RUN make",
        "|2 A=b C=d e /bin/sh -c make": "RUN make",
        "COPY a /b # buildkit": "COPY a /b",
        "/bin/sh -c set -x \t&& true": "RUN set -x && true",
        "cmd /S /C #(nop) ENV A=b": "ENV A=b",
        "RUN /bin/bash -o pipefail -c true # buildkit": "RUN /bin/bash -o pipefail -c true",
        "bazel build ...": "bazel build ...",
        "": "",
    }
    assert {given: commands.clean(given) for given in table} == table


def test_cleaning_never_raises() -> None:
    for payload in [*PAYLOADS, "a " * 100_000, "|9 " * 50_000]:
        assert len(commands.clean(payload)) <= 20_010
        assert isinstance(secrets.mask(payload), str)
        assert isinstance(secrets.is_name(payload), bool)


@pytest.mark.parametrize("unit", ["eyJaaaaaaaa-", "a://", "a://a:", "password=", "sk-", "a.-"])
def test_hiding_secrets_in_a_long_text_ends(unit: str) -> None:
    """What would take for ever if a pattern could try everything: the test's own timeout."""
    assert isinstance(secrets.mask(unit * (1_500_000 // len(unit))), str)


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (datetime(2026, 1, 1, 11, 59, tzinfo=UTC), "1 minute ago"),
        (datetime(2026, 1, 1, 11, 59, 59, tzinfo=UTC), "just now"),
        (datetime(2026, 1, 1, 9, tzinfo=UTC), "3 hours ago"),
        (datetime(2025, 12, 29, tzinfo=UTC), "3 days ago"),
        (datetime(2025, 9, 1, tzinfo=UTC), "4 months ago"),
        (datetime(2020, 1, 1, tzinfo=UTC), "6 years ago"),
        (datetime(2027, 1, 1, tzinfo=UTC), "in the future"),
        (datetime(1970, 1, 1, tzinfo=UTC), ""),
        (datetime(1, 1, 1, tzinfo=UTC), ""),
    ],
)
def test_ages(moment: datetime, words: str) -> None:
    assert text.age(moment, datetime(2026, 1, 1, 12, tzinfo=UTC)) == words


# --- never raising ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CARDS)
def test_a_card_without_its_facts_says_so(name: str) -> None:
    draw, _ = CARDS[name]
    page = draw({})
    assert page.startswith("<div")
    read(page)


# --- the objects themselves -------------------------------------------------------------------


def test_every_object_has_a_card() -> None:
    amd64 = make_image([{"a": b"a"}, {"b": b"b"}], Env=["A=1"])
    index = make_index((amd64, make_image([{"a": b"a"}], "linux/arm64")))
    chart = make_artifact(
        b"{}", "application/vnd.cncf.helm.config.v1+json", amd64.layers, amd64.blobs
    )
    source = MemorySource(index=index, single=amd64, chart=chart)
    m = source.manifest("single")
    hub = Registry("registry.invalid", username="alice", password="s3cret-canary")
    claim = statement.parse(
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[],'
        b'"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}'
    )
    assert claim is not None
    from didlab.model.attestation import Attestation

    made = {
        "registry": hub,
        "repository": hub["lab/app"],
        "image": m,
        "index": source.manifest("index", None),
        "chosen": source.manifest("index", "linux/arm64"),
        "Helm chart": source.manifest("chart"),
        "layer 1": m.layer(1),
        "config": m.config(),
        "attestation": Attestation(claim, DIGEST, OTHER),
        "saved": SaveReport(
            None, DIGEST, OTHER, "linux/amd64", 5, 5, 0, 1.0,
            images=(SavedImage("a:1", None, OTHER, ("linux/amd64",)),),
        ),
        "loaded": LoadReport((LoadedImage("a:1", DIGEST, "x"),), ("ok",), "24", 5, 5, 0, 1.0),
        "copied": CopyReport("a:1", DIGEST, 1, 1, 0, 0, 5, 0, 0, 1.0),
        "extracted": Extracted(Path("out"), 1, 0, 0, 5, (("a", "b"),)),
    }  # fmt: skip
    for word, thing in made.items():
        page = thing._repr_html_()
        assert "no card" not in page, word
        assert "canary" not in page
        clean(page)
        seen = read(page).text
        assert word in seen or word == "chosen", (word, seen)


def test_an_index_knows_sizes_that_came_without_asking_more() -> None:
    amd64, arm64 = make_image([{"a": b"a"}]), make_image([{"a": b"a"}], "linux/arm64")
    source = MemorySource(index=make_index((amd64, arm64)))
    m = source.manifest("index", None)
    m["linux/arm64"].config()
    asked = len(source.asked)
    rows = {row["platform"]: row["size"] for row in m._facts()["index"]}
    assert rows == {"linux/amd64": None, "linux/arm64": m["linux/arm64"].size()}
    assert len(source.asked) == asked


def test_the_payloads_hold_lone_surrogates() -> None:
    # `make_image` cannot: JSON of a real image is UTF-8.
    assert set(SURROGATES) <= set(PAYLOADS)
