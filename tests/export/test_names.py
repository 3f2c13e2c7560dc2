"""Names of saved files, and what a report shows: legal and harmless whatever a config says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.faults import FaultServer
from rig.images import make_image

import didlab
from didlab.errors import InvalidArgument
from didlab.export.names import LONGEST, archive_name
from didlab.export.running import Manner
from didlab.oci.platform import Platform
from didlab.oci.reference import Reference

# As Windows has it: devices, whatever follows behind a dot; no blank or dot at the end.
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def name(text: str, *platform: str) -> str:
    made = archive_name(Reference.parse(text), Platform(*platform) if platform else None)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.tar", made), made
    assert len(made) <= LONGEST
    assert not DEVICE.fullmatch(made)
    return made


def test_windows_images_of_one_architecture_have_names_of_their_own() -> None:
    first = name("app:1", "windows", "amd64", "", "10.0.17763.1")
    assert first == "app_1_windows_amd64_10.0.17763.1.tar"
    assert name("app:1", "windows", "amd64", "", "10.0.20348.1") != first


@pytest.mark.parametrize("device", ["con", "nul", "prn", "aux", "com1", "lpt9"])
def test_devices_of_windows(device: str) -> None:
    assert name(device, "linux", "amd64") == f"{device}_latest_linux_amd64.tar"
    assert name(f"{device}.x:1") == f"_{device}.x_1.tar"
    assert name(f"ghcr.io/{device}.x/y:1") == f"_{device}.x_y_1.tar"
    assert name(f"{device}ole.x:1") == f"{device}ole.x_1.tar"


def test_the_name_stays_in_front_of_a_config_that_says_too_much() -> None:
    made = name(f"app:{'t' * 128}", "windows", "amd64", "", "9" * 5000)
    assert made.startswith(f"app_{'t' * 128}_windows_amd64_9")


@given(
    st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+){0,3}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True),
    st.lists(st.text(max_size=300), min_size=2, max_size=4),
)
def test_any_config_gives_a_legal_name(repository: str, tag: str, platform: list[str]) -> None:
    name(f"ghcr.io/{repository[:255]}:{tag}", *platform)


def test_nothing_remote_is_shown_raw(tmp_path: Path) -> None:
    image = make_image([{"a": b"a"}], config_json={"os": "li\x1b[31mRED\n\u202e", "variant": "v1"})
    with FaultServer() as server:
        server.add_image("lab/app", "1", image)
        report = didlab.open(f"{server.host}/lab/app:1", trust_env=False).save(tmp_path)
    assert report.platform is not None
    assert "\x1b" in report.platform  # data is data
    for shown in (repr(report), repr(report.images), repr(report.images[0]), str(report)):
        assert shown.isprintable(), shown
    assert "li\\x1b[31mRED" in repr(report)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", report.path.name)


@pytest.mark.parametrize(
    "wrong", ["yes", 1, 0, object(), [], list, type("Bar", (), {"update": id})]
)
def test_progress_that_is_none(wrong: object) -> None:
    with pytest.raises(InvalidArgument, match=r"progress= takes True, False or an object"):
        Manner(progress=wrong)


def test_progress_that_is_one() -> None:
    class Bar:
        def update(self, n: int) -> None:
            """Take note."""

    for right in (None, True, False, Bar()):
        assert Manner(progress=right).progress is right
