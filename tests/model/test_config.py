"""A Config: a read-only mapping with the usual fields at hand."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.images import dump, make_image
from rig.registries import Registry as LabRegistry

import didlab
from didlab.errors import ConfigInvalid
from didlab.model.config import Config
from didlab.oci.config import parse


def config(inner: Any = None, **outer: Any) -> Config:
    document = {"os": "linux", "architecture": "amd64", "config": inner or {}, **outer}
    return Config(parse(json.dumps(document).encode()))


def test_fields_of_a_real_image(lab: LabRegistry) -> None:
    found = didlab.open(f"{lab.host}/lab/app:latest", "linux/amd64").config()
    assert dict(found.env) == {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LAB": "1=2", "EMPTY": ""}
    assert list(found.env) == ["PATH", "LAB", "EMPTY"]
    assert found.entrypoint == ("/srv/app/main",)
    assert found.cmd == ("--help",)
    assert found.user == "1000:1000"
    assert found.working_dir == "/srv/app"
    assert found.exposed_ports == ("8080/tcp",)
    assert found.volumes == ("/data",)
    assert found.stop_signal == "SIGTERM"
    assert found.labels["org.opencontainers.image.title"] == "lab"
    assert found.labels["odd"] == "<b>\x1b[31m</b>"  # as it is; only views escape
    assert (found.os, found.architecture, found.variant) == ("linux", "amd64", "")
    assert found.created == datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert len(found.diff_ids) == 11
    assert found.healthcheck is None
    assert found.author == ""


def test_it_is_a_mapping_over_the_json() -> None:
    image = make_image([{"a": b"a"}], Env=["A=1"])
    found = Config(parse(image.config))
    document = json.loads(image.config)
    assert isinstance(found, Mapping)
    assert dict(found) == document
    assert found == document
    assert len(found) == len(document)
    assert found["config"]["Env"] == ["A=1"]
    assert found.raw == image.config
    assert found.image_id == image.image_id
    assert found.to_dict() == document
    assert "config" in found
    assert found.get("nothing", 5) == 5
    with pytest.raises(KeyError):
        found["nothing"]


def test_it_cannot_be_changed() -> None:
    found = config({"Env": ["A=1"], "Labels": {"a": "b"}, "Healthcheck": {"Test": ["CMD", "a"]}})
    with pytest.raises(TypeError):
        found["os"] = "windows"  # type: ignore[index]
    with pytest.raises(AttributeError):
        found.os = "windows"  # type: ignore[misc]
    for mapping in (found.env, found.labels):
        with pytest.raises(TypeError):
            mapping["x"] = "y"  # type: ignore[index]
    found["config"]["Env"].append("B=2")
    found.to_dict().clear()
    assert found.healthcheck is not None
    found.healthcheck["Test"].append("b")  # type: ignore[index]
    assert dict(found.env) == {"A": "1"}
    assert found["config"]["Env"] == ["A=1"]
    assert found.healthcheck == {"Test": ["CMD", "a"]}


def test_identity() -> None:
    one, same, other = config({"User": "a"}), config({"User": "a"}), config({"User": "b"})
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != 5
    for copied in (pickle.loads(pickle.dumps(one)), copy.copy(one), copy.deepcopy(one)):
        assert copied == one
        assert copied.user == "a"


def test_environment_corners() -> None:
    found = config({"Env": ["A=1", "B", "A=2", "=x", "C=a=b", ""]})
    assert dict(found.env) == {"A": "2", "B": "", "": "", "C": "a=b"}


WRONG = [None, 5, True, "text", [], {}, [1, None, {}], {"a": 1}, [[]], 1.5, "Ü\ud800"]
FIELDS = [
    "Env",
    "Labels",
    "Entrypoint",
    "Cmd",
    "User",
    "WorkingDir",
    "ExposedPorts",
    "Volumes",
    "StopSignal",
    "Healthcheck",
]
ATTRIBUTES = [
    name
    for name, value in vars(Config).items()
    if isinstance(value, property) and not name.startswith("_")
]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_no_field_of_a_wrong_type_makes_an_attribute_raise(field: str, value: Any) -> None:
    try:
        found = config({field: value}, author=value)
    except ConfigInvalid:
        return  # refused as a whole, by a typed error
    for name in ATTRIBUTES:
        getattr(found, name)
    for text in (repr(found), found._repr_html_()):
        text.encode()
    assert all(isinstance(item, str) for item in (*found.env.values(), *found.labels.values()))
    assert all(isinstance(item, str) for item in (*found.entrypoint, *found.cmd, found.user))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*FIELDS, "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_whatever_a_config_holds_can_be_looked_at(value: Any) -> None:
    try:
        found = Config(parse(dump({"config": value, "os": "linux"})))
    except ConfigInvalid:
        return
    for name in ATTRIBUTES:
        getattr(found, name)
    json.dumps([repr(found), found._repr_html_()], ensure_ascii=False).encode()
    assert found.to_dict()["os"] == "linux"


@pytest.mark.parametrize("name", ["__class__", "items", "_repr_html_", "env", "raw", "__reduce__"])
def test_remote_names_are_keys_and_never_attributes(name: str) -> None:
    found = config({"Labels": {name: "evil"}, "Env": [f"{name}=evil"]}, **{name: "evil"})
    assert found[name] == "evil"
    assert found.labels[name] == found.env[name] == "evil"
    assert getattr(found, name) != "evil"


@pytest.mark.parametrize("text", ["99999-01-01T00:00:00Z", "0000-00-00T00:00:00Z", "soon", ""])
def test_impossible_times_are_none(text: str) -> None:
    found = config(created=text)
    assert found.created is None
    assert found["created"] == text
    assert repr(found)


def test_keys_are_completed() -> None:
    assert config()._ipython_key_completions_() == ["os", "architecture", "config"]


def test_as_json_is_the_viewer_of_ipython() -> None:
    display = pytest.importorskip("IPython.display")
    found = config({"User": "a"})
    viewer = found.as_json()
    assert isinstance(viewer, display.JSON)
    assert viewer.data == dict(found)


def test_repr_says_the_essentials() -> None:
    found = config(
        {"Entrypoint": ["/app"], "Cmd": ["--help"], "User": "alice"},
        created="2024-02-29T12:00:00Z",
        variant="v8",
    )
    text = repr(found)
    for part in ("linux/amd64/v8", "2024-02-29", "alice", "/app --help", "0 layers"):
        assert part in text


def test_the_year_one_has_four_digits() -> None:
    assert "created 0001-01-01" in repr(config(created="0001-01-01T00:00:00Z"))
