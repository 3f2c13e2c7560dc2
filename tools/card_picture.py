"""Take the picture of a card: ``python3 tools/card_picture.py`` (didlab installed).

For README and docs. What is shown is the HTML that a notebook gets, of an image of the embedded
registry, in a page that looks like a notebook's cell; headless Chromium draws it.
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "card.png"
WIDTH = 846
#: The picture is in a repository, and above the fold.
MOST_BYTES = 120_000
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

_PAGE = """\
<!doctype html><meta charset="utf-8"><title></title>
<style>
body {{ margin: 0; background: {background}; color: {colour};
  font: 14px/1.45 "Noto Sans", "DejaVu Sans", system-ui, sans-serif }}
main {{ padding: 14px 18px 16px }}
pre {{ margin: 0 0 14px; padding: 9px 12px; background: {cell}; border: 1px solid {line};
  border-radius: 3px; font: 13px/1.5 "DejaVu Sans Mono", monospace }}
</style>
<main><pre>{code}</pre>{card}</main>
<script>document.title = "height:" + Math.ceil(document.querySelector("main").offsetHeight)</script>
"""
_LOOKS = {
    "light": {"background": "#fff", "colour": "#1f2328", "cell": "#f6f8fa", "line": "#d0d7de"},
    "dark": {"background": "#111418", "colour": "#d7dce2", "cell": "#1b2026", "line": "#343b44"},
}


def main() -> int:
    """Draw the picture, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=PICTURE)
    parser.add_argument("--look", choices=_LOOKS, default="light")
    args = parser.parse_args()
    chromium = next((path for name in NAMES if (path := shutil.which(name))), None)
    if chromium is None:
        print("card_picture: Chromium is missing: apt-get install chromium", file=sys.stderr)
        return 1
    args.output.parent.mkdir(parents=True, exist_ok=True)
    page = _PAGE.format(code=html.escape(CODE), card=card(), **_LOOKS[args.look])
    draw(chromium, page, args.output.resolve())
    size = args.output.stat().st_size
    print(args.output, f"{size:,} bytes")
    return 0 if size <= MOST_BYTES else 1


CODE = """\
import didlab

didlab.open("demo/web:1.27", platform="linux/arm64")"""


def card() -> str:
    """HTML of an image of the sandbox, under the name that `CODE` has for it."""
    import didlab

    with didlab.sandbox() as hub:
        m = didlab.open(
            "demo/web:1.27", platform="linux/arm64", mirrors=[f"http://{hub.name}"], proxy="direct"
        )
        return m._repr_html_()


def draw(chromium: str, page: str, output: Path) -> None:
    """Draw a page as high as its content is."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(page, encoding="utf-8")
        shown = _chromium(chromium, folder, "--dump-dom", source.as_uri())
        found = re.search(r"<title>height:(\d+)", shown)
        if found is None:
            raise SystemExit("card_picture: Chromium did not say how high the page is")
        _chromium(
            chromium,
            folder,
            f"--window-size={WIDTH},{found[1]}",
            f"--screenshot={output}",
            source.as_uri(),
        )


def _chromium(chromium: str, folder: str, *arguments: str) -> str:
    done = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--force-device-scale-factor=1.5",
            "--force-color-profile=srgb",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder}/profile",
            f"--window-size={WIDTH},900",
            *arguments,
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
