"""All checks with all their set-up: ``python3 tools/test.py``, for people and for CI alike.

As root on Debian or Ubuntu it installs the registries, proxies and loaders that the tests run
against; elsewhere, tests that lack a program say so and are skipped (with ``CI`` set they fail).
Then: a virtual environment, formatting, lint, types, spelling, the built wheel on its own, the
unit tests on other Pythons that are at hand, and at last all tests, notebooks included.

Arguments go to pytest, and then only the tests run: ``python3 tools/test.py tests/oci -x``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import environment
from environment import ROOT, run, say

#: Debian's names. Registries, proxies, image tools and everything that loads a saved tar.
SYSTEM = (
    "apache2-utils",
    "busybox",
    "ca-certificates",
    "chromium",
    "containerd",
    "db-util",
    "distro-info-data",
    "docker-registry",
    "docker.io",
    "libarchive-tools",
    "libcap2-bin",
    "microsocks",
    "nginx-light",
    "openssh-client",
    "openssl",
    "pigz",
    "podman",
    "python3-venv",
    "rpm",
    "skopeo",
    "tinyproxy-bin",
    "umoci",
    "zstd",
)
#: Fast tests, for Pythons beside the one that runs everything.
UNIT = ("tests/oci", "tests/transport/test_urls.py", "tests/transport/test_challenge.py",
        "tests/transport/test_trust.py", "tests/transport/test_network.py", "tests/demo",
        "tests/files/test_scan.py", "tests/files/test_walk.py", "tests/files/test_decompress.py",
        "tests/files/test_merge.py", "tests/files/test_toc.py", "tests/audits/ecosystems",
        "tests/test_readme.py", "didlab")  # fmt: skip
#: Other Pythons, and what holds back their packages: the oldest that didlab promises.
OTHERS = {"python3.12": ROOT / "tools" / "oldest.txt", "python3.13": None}

SMOKE = """
import sys, tempfile
import didlab
assert not {"requests", "pandas", "ipywidgets", "tqdm"} & set(sys.modules), "a dear import"
with didlab.sandbox() as hub, tempfile.TemporaryDirectory() as folder:
    print(repr(hub["demo/hello"]["1.1"]["linux/arm64"].save(folder)))
"""


def main() -> int:
    """Set up and check; pytest comes last, so that its closing line is the last one."""
    # An environment that happens to be active is not the one that the tests run in.
    os.environ.pop("VIRTUAL_ENV", None)
    try:
        environment.check_python()
        if len(sys.argv) == 1:
            system_packages()
        python = environment.make(ROOT / ".venv")
        environment.install(python, "-e", f"{ROOT}[dev]")
        if len(sys.argv) == 1:
            checks(python)
            wheel(python)
            other_pythons()
        say("pytest")
        return subprocess.run(
            [python, "-m", "pytest", *sys.argv[1:]], cwd=ROOT, check=False
        ).returncode
    except environment.SetupFailed as error:
        print(f"test: {error}", file=sys.stderr)
        return 1


def system_packages() -> None:
    """Install what is missing of `SYSTEM`, where that is possible."""
    if shutil.which("dpkg-query") is None:
        say("not Debian: tests that need a registry, proxy or loader run where it is installed")
        return
    missing = [name for name in SYSTEM if not _installed(name)]
    if not missing:
        return
    if os.geteuid() != 0:
        say(f"for the whole of the tests, as root: apt-get install {' '.join(missing)}")
        return
    say(f"installing {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "-qq", "update", env=quiet)
    install = ("apt-get", "-qq", "install", "-y", "--no-install-recommends")
    run(*install, *missing, env=quiet)
    if shutil.which("docker") is None:  # newer releases have the client apart
        run(*install, "docker-cli", env=quiet)


def _installed(package: str) -> bool:
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", package],
        capture_output=True,
        check=False,
        text=True,
    )
    return done.stdout == "installed"


def checks(python: Path) -> None:
    """Check formatting, lint, types and spelling."""
    for argv in (
        ("ruff", "format", "--check", "."),
        ("ruff", "check", "."),
        ("mypy",),
        ("mypy", "--platform", "win32"),
        ("mypy", "--platform", "darwin"),
        ("codespell_lib",),
    ):
        say(" ".join(argv))
        run(python, "-m", *argv)


def wheel(python: Path) -> None:
    """Build the wheel and use it in an environment that has nothing else."""
    say("the wheel, with nothing but its own dependencies")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
        (built,) = folder.glob("*.whl")
        alone = environment.make(folder / "alone")
        environment.install(alone, built)
        run(alone, "-c", SMOKE, cwd=folder)


def other_pythons() -> None:
    """Run the unit tests on each of `OTHERS` that is at hand."""
    for name, constraints in OTHERS.items():
        base = _find(name)
        if base is None or f"python{sys.version_info[0]}.{sys.version_info[1]}" == name:
            say(f"{name}: not at hand, or the one that runs everything")
            continue
        python = environment.make(ROOT / "build" / name, base)
        held = () if constraints is None else ("-c", constraints)
        environment.install(python, *held, "-e", f"{ROOT}[test]")
        say(f"unit tests on {name}{' with the oldest packages' if held else ''}")
        run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *UNIT)


def _find(name: str) -> str | None:
    """Return a working interpreter of that name; pyenv's stand-ins may lead nowhere."""
    candidates = [shutil.which(name)]
    pyenv = shutil.which("pyenv")
    if pyenv is not None:
        for version in _lines(pyenv, "whence", name):
            candidates += [f"{prefix}/bin/{name}" for prefix in _lines(pyenv, "prefix", version)]
    for candidate in candidates:
        if candidate is not None and _lines(candidate, "-c", "print('works')"):
            return candidate
    return None


def _lines(*argv: str) -> list[str]:
    try:
        done = subprocess.run(argv, capture_output=True, check=False, text=True)
    except OSError:
        return []
    return done.stdout.split() if done.returncode == 0 else []


if __name__ == "__main__":
    sys.exit(main())
