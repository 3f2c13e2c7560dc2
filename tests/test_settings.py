"""Options of the library and their twins in the environment."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

import didlab
from didlab import settings
from didlab.errors import InvalidArgument


@pytest.fixture(autouse=True)
def as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in fields(settings.Settings):
        monkeypatch.delenv(f"DIDLAB_{field.name.upper()}", raising=False)
    monkeypatch.setattr(settings, "_current", None)


def test_options_hold_until_they_are_set_again() -> None:
    assert settings.current() == settings.Settings()
    didlab.set_options(workers=8, progress=False)
    assert (settings.current().workers, settings.current().progress) == (8, False)
    didlab.set_options(progress=True)
    assert (settings.current().workers, settings.current().progress) == (8, True)


def test_with_puts_them_back_whatever_happens() -> None:
    didlab.set_options(workers=2)
    with pytest.raises(ZeroDivisionError), didlab.set_options(workers=9) as inner:
        assert inner.workers == settings.current().workers == 9
        with didlab.set_options(card=False):
            assert settings.current().card is False
            assert settings.current().workers == 9
        assert settings.current().card is True
        raise ZeroDivisionError
    assert settings.current().workers == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"workers": 65},
        {"workers": True},
        {"workers": "4"},
        {"workers": 2.0},
        {"progress": 1},
        {"card": None},
        {"completion": "yes"},
        {"nonsense": True},
        {"progress": False, "nonsense": True},
        {"progress": False, "workers": 0},
    ],
)
def test_what_cannot_be_changes_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=list(wrong)[-1]):
        didlab.set_options(**wrong)
    assert settings.current() == settings.Settings()


def test_an_unknown_option_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidArgument) as caught:
        didlab.set_options(progres=False)
    for field in fields(settings.Settings):
        assert field.name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("progress", "0", False),
        ("progress", "1", True),
        ("progress", " False ", False),
        ("completion", "no", False),
        ("card", "0", False),
        ("workers", "12", 12),
        ("workers", "", 4),
    ],
)
def test_twins_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: Any
) -> None:
    monkeypatch.setenv(f"DIDLAB_{name.upper()}", text)
    assert getattr(settings.current(), name) == value
    # What is set by a call goes before it.
    with didlab.set_options(workers=3):
        assert settings.current().workers == 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("progress", "perhaps"),
        ("card", "2"),
        ("workers", "many"),
        ("workers", "0"),
        ("workers", "-1"),
        ("workers", "٤"),
        ("workers", "٤4"),
        pytest.param("workers", "9" * 5000, id="workers-digits"),
    ],
)
def test_nonsense_in_the_environment(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"DIDLAB_{name.upper()}", text)
    with pytest.raises(InvalidArgument, match=name.upper() if text != "0" else name):
        settings.current()


def test_every_option_is_documented_with_its_twin() -> None:
    text = settings.set_options.__doc__ or ""
    for field in fields(settings.Settings):
        assert f"{field.name} : {field.type}" in text
        assert f"DIDLAB_{field.name.upper()}" in text
