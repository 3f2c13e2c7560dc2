"""Attributes are free: looking, comparing, copying, Tab and ``?`` never ask anybody."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import pickle
import sys
import threading
import typing
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rig.faults import FaultServer, respond, stall
from rig.images import make_image, make_index
from rig.registries import Registry as LabRegistry

import didlab
from didlab.audits.diff.difference import Diff
from didlab.audits.distribution import OperatingSystem
from didlab.audits.fleet.report import Report
from didlab.audits.sbom.document import Sbom
from didlab.model import completion
from didlab.model import manifest as manifest_module
from didlab.model.attestation import Attestation
from didlab.model.config import Config
from didlab.model.layer import Layer
from didlab.model.manifest import Manifest
from didlab.model.plotting import ImagePlots, RepositoryPlots
from didlab.model.registry import RateLimit, Registry
from didlab.model.repository import Repository
from didlab.oci.descriptor import Descriptor
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference
from didlab.sources.base import Source
from model.sources import ASKED, Exploded, MemorySource

PUBLIC_CLASSES = [
    Registry,
    Repository,
    Manifest,
    Layer,
    Config,
    Attestation,
    Diff,
    OperatingSystem,
    Report,
    Sbom,
    ImagePlots,
    RepositoryPlots,
    RateLimit,
    Reference,
]

LAYERS: list[dict[str, Any]] = [{"a": b"a"}, {"b": b"b"}]
AMD64 = make_image(LAYERS, Env=["A=1"], Labels={"b": "c"}, Cmd=["/a"])
ARM64 = make_image(LAYERS, "linux/arm64/v8")
INDEX = make_index((AMD64, ARM64))


# --- what must not happen ---------------------------------------------------------------------

_EVENTS: list[str] | None = None
_WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.Popen", "os.system")


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _EVENTS is not None and event in _WATCHED:
        _EVENTS.append(event)


@functools.cache
def _install() -> None:
    sys.addaudithook(_audit)  # it cannot be taken away again, so it is there once


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """Collect what touches network or processes, and every verb of every `MemorySource`."""
    global _EVENTS
    _install()
    # Cards and completions that an earlier test did not wait for.
    for thread in threading.enumerate():
        if thread.name.startswith("didlab-"):
            thread.join(60)
            assert not thread.is_alive(), thread.name
    events: list[str] = []
    _EVENTS = events
    before = len(ASKED)
    try:
        yield events
    finally:
        _EVENTS = None
        events.extend(ASKED[before:])


def test_the_watch_sees(tmp_path: Path) -> None:
    with watched() as events:
        with pytest.raises(OSError, match=r".*"):
            __import__("socket").create_connection(("127.0.0.1", 1), timeout=5)
        source = MemorySource(latest=AMD64)
        source.exploding = True
        with pytest.raises(Exploded):
            source.manifest("latest").digest()
    assert {"socket.connect", "resolve"} <= set(events)


# --- every public object ----------------------------------------------------------------------


def unknown() -> Manifest:
    source = MemorySource(latest=INDEX)
    source.exploding = True
    return source.manifest("latest")


def known(tag: str = "index") -> Manifest:
    """A Manifest that has seen everything, over a source that raises from now on."""
    source = MemorySource(index=INDEX, single=AMD64)
    made = source.manifest(tag)
    made = made["linux/amd64"] if tag == "index" else made
    made.config()
    source.exploding = True
    return made


def half_known() -> Manifest:
    """A Manifest whose config nobody asked for."""
    source = MemorySource(single=AMD64)
    made = source.manifest("single")
    made.digest()
    source.exploding = True
    return made


def travelled() -> Manifest:
    return typing.cast("Manifest", pickle.loads(pickle.dumps(known())))


def registry() -> Registry:
    return Registry(
        "registry.invalid:5000",
        mirrors=["https://mirror.invalid"],
        username="alice",
        password="s3cret",
        proxy="socks5h://user:s3cret@proxy.invalid:1080",
    )


OBJECTS: dict[str, Callable[[], Any]] = {
    "registry": registry,
    "repository": lambda: registry()["lab/app"],
    "manifest-of-repository": lambda: registry()["lab/app"]["1"],
    "manifest-opened": lambda: didlab.open("registry.invalid/lab/app:1", "linux/arm64"),
    "manifest-unknown": unknown,
    "manifest-platform-unknown": lambda: unknown()["linux/arm64"],
    "manifest-half-known": half_known,
    "manifest-known": known,
    "manifest-single": lambda: known("single"),
    "manifest-pickled": travelled,
    "manifest-refreshed": lambda: known().refresh(),
    "layer-unknown-config": lambda: half_known().layer(0),
    "layer": lambda: known().layer(1),
    "config": lambda: known().config(),
    "plots": lambda: unknown().plot,
    "plots-of-repository": lambda: registry()["lab/app"].plot,
    "reference": lambda: Reference.parse("registry.invalid/lab/app:1"),
}
LAZY = [name for name in OBJECTS if name not in ("config", "reference")]

#: Names that IPython, pandas and pickle look for on anything that is shown.
PROBES = (
    "_ipython_display_",
    "_ipython_canary_method_should_not_exist_",
    "_repr_mimebundle_",
    "_repr_latex_",
    "_repr_markdown_",
    "_repr_png_",
    "_repr_pretty_",
    "__array__",
    "__dataframe__",
    "__fspath__",
    "__wrapped__",
    "nonsense",
)


def look_at(thing: Any) -> None:
    """Everything that a debugger, a notebook or a pool of workers does with an object."""
    repr(thing), str(thing), f"{thing}", ascii(thing)
    assert bool(thing)
    if hasattr(type(thing), "__len__"):
        len(thing)
    assert hash(thing) == hash(thing)
    assert thing == thing
    assert not (thing != thing)  # noqa: SIM202
    assert thing != "something else"
    assert thing in [thing]
    assert len({thing, thing}) == 1
    assert {thing: 1}[thing] == 1
    for name in dir(thing):
        if not name.startswith("_"):
            getattr(thing, name)
    for name in PROBES:
        getattr(thing, name, None)
    inspect.getdoc(thing)
    # Python before 3.11.4 cannot even look at the __weakref__ of a slotted dataclass.
    members = inspect.getmembers(thing) if sys.version_info >= (3, 11, 4) else []
    for name, member in members:
        if callable(member) and not name.startswith("_"):
            inspect.signature(member)
    isinstance(thing, Source)
    for other in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
        assert other == thing
        assert hash(other) == hash(thing)
        repr(other)


@pytest.mark.parametrize("name", OBJECTS)
def test_looking_costs_nothing(name: str) -> None:
    thing = OBJECTS[name]()
    with watched() as events:
        look_at(thing)
    assert events == []


@pytest.mark.parametrize("name", LAZY)
def test_lazy_objects_have_no_length_and_do_not_iterate(name: str) -> None:
    thing = OBJECTS[name]()
    # A fetching __len__ would be called by ``thing?`` and by every truth test.
    assert not hasattr(thing, "__len__")
    with watched() as events, pytest.raises(TypeError):
        iter(thing)
    assert events == []


@pytest.mark.parametrize("name", LAZY)
def test_one_line_says_what_is_known(name: str) -> None:
    thing = OBJECTS[name]()
    text = repr(thing)
    assert text.startswith(f"<{type(thing).__name__} ")
    assert text.endswith(">")
    assert "\n" not in text
    assert "s3cret" not in text
    if name in ("manifest-unknown", "manifest-opened", "manifest-refreshed"):
        assert "not fetched" in text


@pytest.mark.parametrize("name", ["registry", "repository", "manifest-of-repository"])
def test_secrets_do_not_travel(name: str) -> None:
    assert b"s3cret" not in pickle.dumps(OBJECTS[name]())


def test_going_down_is_free() -> None:
    with watched() as events:
        hub = registry()
        m = hub["lab/app"]["1"]["linux/arm64"]
        assert m.repository == hub["lab/app"]
        assert m.registry == hub
        assert str(m.reference) == "registry.invalid:5000/lab/app:1"
        assert hub["lab/app"].manifest("1", platform="linux/arm64") == m
        assert m.refresh() == m
    assert events == []


# --- annotations: what keeps Jedi from calling properties -------------------------------------


@pytest.mark.parametrize("kind", PUBLIC_CLASSES, ids=lambda kind: kind.__name__)
def test_every_public_property_is_annotated(kind: type) -> None:
    found = 0
    names = {**vars(typing), "datetime": datetime, "Platform": Platform, "pd": pd}
    names |= {cls.__name__: cls for cls in (*PUBLIC_CLASSES, Descriptor)}
    for name, value in inspect.getmembers_static(kind):
        if name.startswith("_"):
            continue
        # IPython evaluates it on Tab.
        assert not isinstance(value, functools.cached_property), name
        if isinstance(value, property):
            assert value.fget is not None
            hints = typing.get_type_hints(
                value.fget, {**vars(sys.modules[kind.__module__]), **names}
            )
            assert "return" in hints, f"{kind.__name__}.{name}"
            assert value.__doc__, f"{kind.__name__}.{name}"
            found += 1
    others = (RateLimit, Reference, ImagePlots, RepositoryPlots, OperatingSystem)
    assert found or kind in others


@pytest.mark.parametrize("kind", PUBLIC_CLASSES, ids=lambda kind: kind.__name__)
def test_every_public_method_is_annotated_and_documented(kind: type) -> None:
    for name, value in vars(kind).items():
        if inspect.isfunction(value) and (not name.startswith("_") or name == "__getitem__"):
            assert "return" in value.__annotations__, f"{kind.__name__}.{name}"
            assert value.__doc__ or name == "__getitem__", f"{kind.__name__}.{name}"


@pytest.mark.parametrize("kind", PUBLIC_CLASSES, ids=lambda kind: kind.__name__)
def test_no_formats_that_hide_the_html_or_render_remote_text(kind: type) -> None:
    for name in ("_ipython_display_", "_repr_markdown_", "_repr_latex_", "_repr_javascript_"):
        assert not hasattr(kind, name)
    assert not hasattr(kind, "__getattr__"), "remote names must not become attributes"


# --- IPython ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real IPython shell, its completer with Jedi on."""
    pytest.importorskip("jedi")
    core = pytest.importorskip("IPython.core.interactiveshell")
    from traitlets.config import Config as Traits

    traits = Traits()
    traits.HistoryManager.enabled = False
    folder = str(tmp_path_factory.mktemp("ipython"))
    hook = sys.displayhook, sys.excepthook
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", folder)
        made = core.InteractiveShell(config=traits, ipython_dir=folder)
        made.Completer.use_jedi = True
        yield made
    sys.displayhook, sys.excepthook = hook


def complete(shell: Any, text: str) -> list[str]:
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        found = list(shell.Completer.completions(text, len(text)))
    assert shell.Completer.use_jedi
    return [one.text for one in found]


OFFERED = {
    "hub.": "repositories",
    'hub["x"].': "tags",
    'hub["x"]["1"].': None,
    "repo.": "tags",
    "repo.registry.": "rate_limit",
    'repo["1"].': "platforms",
    "m.": "platforms",
    "m.sa": "save",
    "m.plot.": "treemap",
    "repo.plot.": "growth",
    "m.reference.": "repository",
    "m.repository.": "tags",
    "m.registry.": "repositories",
    'm["linux/arm64"].': "layers",
    "m.layer(0).": "diff_id",
    "m.config().": "labels",
    "local.repository.": None,
    'local["linux/arm64"].': "layers",
    "layer.": "created_by",
    "layer.manifest.": "platforms",
    "cfg.": "labels",
    "cfg.env.": "items",
    'cfg["': "rootfs",
}


@pytest.fixture
def namespace(shell: Any) -> Iterator[Any]:
    names = {
        "hub": registry(),
        "repo": registry()["lab/app"],
        "m": registry()["lab/app"]["1"],
        "local": unknown(),
        "layer": half_known().layer(0),
        "cfg": known().config(),
        "done": known(),
    }
    shell.user_ns.update(names)
    yield shell
    for name in names:
        shell.user_ns.pop(name, None)


def test_tab_costs_nothing_and_offers_the_names(namespace: Any) -> None:
    with watched() as events:
        offered = {text: complete(namespace, text) for text in OFFERED}
    assert events == []
    missing = {
        text: name
        for text, name in OFFERED.items()
        if name is not None and not any(name in one for one in offered[text])
    }
    assert missing == {}


def test_question_mark_costs_nothing(namespace: Any) -> None:
    with watched() as events:
        for name in (
            "hub",
            "repo",
            "m",
            "m.platforms",
            "m.reference",
            "m.repository",
            "layer",
            "cfg",
        ):
            for detail in (0, 1):
                shown = namespace.object_inspect_mime(name, detail_level=detail)
                assert shown["text/plain"]
    assert events == []


def test_keys_of_a_known_index_cost_nothing(namespace: Any) -> None:
    with watched() as events:
        offered = complete(namespace, 'done["linux/a')
    assert events == []
    assert any("linux/amd64" in one for one in offered)
    assert any("linux/arm64/v8" in one for one in offered)


def test_keys_when_switched_off_cost_nothing(namespace: Any) -> None:
    with watched() as events, didlab.set_options(completion=False):
        for text in ('m["', 'local["linux/a', 'repo["', 'hub["'):
            complete(namespace, text)
        assert namespace.user_ns["m"]._ipython_key_completions_() == []
    assert events == []


# --- a real registry --------------------------------------------------------------------------


def test_a_real_registry_sees_nothing(lab: LabRegistry, shell: Any) -> None:
    # Options of its own: a client, and so a log, that no other test shares.
    hub = didlab.Registry(lab.host, timeout=(6, 26))
    repo = hub["lab/app"]
    m = repo["multi"]
    shell.user_ns.update(hub=hub, repo=repo, m=m, layer=None, cfg={})
    with lab.record() as seen, didlab.set_options(completion=False):
        for thing in (hub, repo, m, m["linux/arm64"]):
            look_at(thing)
        for text in ("hub.", "repo.", "m.", "m.layer(0).", 'hub["x"].', 'm["linux/a', 'repo["'):
            complete(shell, text)
        for name in ("hub", "repo", "m"):
            shell.object_inspect_mime(name, detail_level=0)
    assert seen == []
    assert hub.requests().empty

    m["linux/amd64"].config()
    layer, config = m["linux/amd64"].layer(0), m["linux/amd64"].config()
    with lab.record() as seen:
        for thing in (m, m["linux/amd64"], layer, config):
            look_at(thing)
            if hasattr(thing, "_repr_html_"):
                thing._repr_html_()
        assert m._ipython_key_completions_()
    assert seen == []
    with lab.record() as seen:
        m.refresh().digest()
    assert seen  # the record does see


# --- the two places that may fetch a little ---------------------------------------------------


def manifest_at(server: FaultServer, **options: Any) -> Manifest:
    server.add_image("lab/app", "1", INDEX)
    return didlab.open(f"{server.host}/lab/app:1", trust_env=False, **options)


def test_the_card_shows_what_it_fetched(lab: LabRegistry) -> None:
    card = didlab.open(f"{lab.host}/lab/app:latest", "linux/amd64")._repr_html_()
    assert "11 layers" in card
    assert "/srv/app/main --help" in card


def test_the_card_does_not_wait_for_a_stalling_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "CARD_SECONDS", 0.2)
    with FaultServer() as server:
        m = manifest_at(server)
        server.rule(lambda request: "/manifests/" in request.path, stall(60))
        card = m._repr_html_()
        assert "no answer within" in card
        assert "m.config()" in card
        assert len(server.asked("/manifests/")) == 1
        # Once more: it draws what there is and stays bounded.
        assert "no answer within" in m._repr_html_()


@pytest.mark.parametrize(
    ("status", "body"), [(404, b"{}"), (403, b"{}"), (200, b"<html>login</html>"), (200, b"{}")]
)
def test_the_card_never_raises(status: int, body: bytes) -> None:
    with FaultServer() as server:
        m = manifest_at(server)
        kind = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
        server.rule(lambda request: "/manifests/" in request.path, respond(status, kind, body))
        card = m._repr_html_()
        assert card.startswith("<div")
        with pytest.raises(didlab.errors.DidlabError) as caught:
            m.config()
        assert type(caught.value).__name__ in card


def test_the_card_survives_an_unknown_platform_and_broken_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = MemorySource(latest=INDEX)
    assert "PlatformNotFound" in source.manifest("latest", "linux/s390x")._repr_html_()

    def broken() -> None:
        raise RuntimeError("secret text")

    m = source.manifest("latest")
    monkeypatch.setattr(m, "_facts", broken)
    card = m._repr_html_()
    assert "RuntimeError" in card
    assert "secret text" not in card


def test_the_card_asks_nobody_when_switched_off() -> None:
    with watched() as events, didlab.set_options(card=False):
        assert "not fetched" in unknown()._repr_html_()
    assert events == []


def test_tags_and_platforms_are_offered(lab: LabRegistry, shell: Any) -> None:
    hub = didlab.Registry(lab.host)
    repo = hub["lab/app"]
    shell.user_ns.update(hub=hub, repo=repo, m=repo["multi"])
    assert set(repo._ipython_key_completions_()) >= {"latest", "multi", "list", "oci"}
    assert any("multi" in text for text in complete(shell, 'repo["mu'))
    assert any("linux/arm64/v8" in text for text in complete(shell, 'm["linux/a'))
    assert "linux/arm/v7" in repo["multi"]._ipython_key_completions_()
    assert not any("unknown" in name for name in repo["multi"]._ipython_key_completions_())
    assert {"lab/app", "lab/small"} <= set(hub._ipython_key_completions_())


def test_keys_are_asked_for_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(completion.time, "monotonic", lambda: now[0])
    asked: list[int] = []

    def ask() -> list[str]:
        asked.append(1)
        return ["a"]

    completer = completion.Completer(ask)
    assert [completer() for _ in range(3)] == [["a"]] * 3
    now[0] += 59
    completer()
    assert len(asked) == 1
    now[0] += 2
    completer()
    assert len(asked) == 2


def test_a_failed_question_is_not_repeated_at_once() -> None:
    with FaultServer() as server:
        repo = didlab.Registry(server.host, trust_env=False)["lab/none"]
        assert repo._ipython_key_completions_() == []
        assert repo._ipython_key_completions_() == []
        assert len(server.asked("/tags/list")) == 1


def test_keys_do_not_wait_for_a_stalling_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completion.WAIT <= 1.5
    assert completion.AGAIN >= 60
    assert manifest_module.CARD_SECONDS <= 3
    monkeypatch.setattr(completion, "WAIT", 0.2)
    with FaultServer() as server:
        m = manifest_at(server)
        server.rule(lambda request: True, stall(60))
        assert m._ipython_key_completions_() == []
        assert m.repository is not None
        assert m.repository._ipython_key_completions_() == []
        assert len(server.asked("/manifests/")) == 1


def test_late_keys_serve_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "WAIT", 0.0)
    go, done = threading.Event(), threading.Event()

    def ask() -> list[str]:
        go.wait(30)
        return ["late"]

    completer = completion.Completer(ask)
    run = completer._run
    monkeypatch.setattr(completer, "_run", lambda: (run(), done.set()))
    assert completer() == []
    go.set()
    assert done.wait(30)
    assert completer() == ["late"]


def test_keys_never_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> list[str]:
        raise RuntimeError

    assert completion.Completer(ask)() == []
    # Nor when an option in the environment is nonsense.
    monkeypatch.setattr("didlab.settings._current", None)
    monkeypatch.setenv("DIDLAB_COMPLETION", "perhaps")
    assert completion.Completer(lambda: ["a"])() == []
