"""A window without an image yet: a name, its registry's settings, and what was opened last."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import ipywidgets as w

from didlab.model.opening import open as open_image
from didlab.widgets import parts, recent, told
from didlab.widgets.explorer import Explorer

#: user:password@ in an address, up to the last @: a password may hold others, and slashes.
_LOGIN = re.compile(r"(?:(?<=//)|(?<![^\s,])(?!\S*?//))[^\s,]+@")
_CHECKED = "https, certificates checked"
_UNCHECKED = "insecure: unchecked certificates, plain http"


class Window(w.VBox):  # type: ignore[misc]
    """What `didlab.explore` shows without an argument.

    Attributes
    ----------
    explorer : Explorer or None
        The image that is open.
    """

    def __init__(self, tree: Any, options: Mapping[str, Any]) -> None:
        self._tree = tree
        self._options = dict(options)
        self._secret: tuple[str, str] | None = None
        self._logins: dict[str, str] = {}
        self.explorer: Explorer | None = None
        self._make()
        super().__init__(children=self._fields)
        self.add_class("didlab-window")

    def __repr__(self) -> str:
        return "<didlab.explore() · a widget: run the cell to use it>"

    def close(self) -> None:
        """Remove the widgets, those of the image too."""
        if self.explorer is not None:
            self.explorer.close()
        super().close()

    def _make(self) -> None:
        wide = {"width": "420px"}
        self.name = w.Text(
            placeholder="nginx:1.27, ghcr.io/owner/app:2, ./image.tar",
            layout={"flex": "1 1 auto", "width": "auto"},
        )
        self.go = w.Button(description="Open", button_style="primary", icon="search")
        self.go.layout.width = "auto"
        self.settings = w.Button(description="Settings", icon="cog", layout={"width": "auto"})
        self.recent = w.Dropdown(options=[], layout={"width": "220px"})
        self.mirrors = w.Text(
            description="mirrors",
            placeholder="https://mirror.example, asked first",
            continuous_update=False,
            layout=wide,
        )
        self.proxy = w.Text(
            description="proxy",
            placeholder="socks5h://127.0.0.1:1080, or direct",
            continuous_update=False,
            layout=wide,
        )
        self.username = w.Text(description="user", placeholder="else docker login's", layout=wide)
        # Not while it is typed: what a notebook stores of its widgets must not have it.
        self.password = w.Password(description="password", continuous_update=False, layout=wide)
        self.insecure = w.Dropdown(
            description="safety", options=[_CHECKED, _UNCHECKED], layout=wide
        )
        self.error = w.HTML()
        self.error.add_class("didlab-window-error")
        self._box = w.VBox(
            [self.mirrors, self.proxy, self.username, self.password, self.insecure],
            layout={"display": "none"},
        )
        self._fields = [
            w.HBox([self.name, self.go, self.recent, self.settings]),
            self._box,
            self.error,
        ]
        self._fill_recent()
        self.go.on_click(lambda _: self._open())
        self.settings.on_click(lambda _: self._toggle())
        self.recent.observe(self._again, "value")
        self.password.observe(self._take, "value")
        for field in (self.mirrors, self.proxy):
            field.observe(partial(self._hide, field), "value")

    def _fill_recent(self) -> None:
        self.recent.options = [("recent …", ""), *((name, name) for name in recent.names())]
        self.recent.index = 0
        self.recent.layout.display = None if len(self.recent.options) > 1 else "none"

    def _toggle(self) -> None:
        self._box.layout.display = None if self._box.layout.display == "none" else "none"

    def _again(self, change: Any) -> None:
        if change["new"]:
            self.name.value = change["new"]

    def _take(self, change: Any) -> None:
        """Take the password out of the widget at once: its state is stored with the notebook."""
        if change["new"]:
            self._secret = (self.username.value.strip(), change["new"])
            self.password.value = ""
            self.password.placeholder = "taken, not shown again"

    def _hide(self, field: Any, change: Any) -> None:
        """Take logins out of addresses, for the same reason."""

        def hidden(match: re.Match[str]) -> str:
            shown = f"login{len(self._logins) + 1}@"
            self._logins[shown] = match[0]
            return shown

        text = _LOGIN.sub(lambda m: m[0] if m[0] in self._logins else hidden(m), change["new"])
        if text != change["new"]:
            field.value = text

    def _whole(self, field: Any) -> str:
        text: str = field.value.strip()
        for shown, login in self._logins.items():
            # A backslash would mean a group in what re puts in its place.
            text = re.sub(rf"(?<![^\s,/]){shown}", login.replace("\\", r"\\"), text)
        return text

    def _given(self) -> dict[str, Any]:
        options = dict(self._options)
        mirrors = self._whole(self.mirrors).replace(",", " ").split()
        if mirrors:
            options["mirrors"] = mirrors
        proxy = self._whole(self.proxy)
        if proxy:
            options["proxy"] = proxy
        username = self.username.value.strip()
        if username:
            options["username"] = username
            if self._secret is not None and self._secret[0] in (username, ""):
                options["password"] = self._secret[1]
        if self.insecure.value == _UNCHECKED:
            options["insecure"] = True
        return options

    def _open(self) -> None:
        name = self.name.value.strip()
        try:
            if not name:
                self.error.value = parts.problem("name an image: nginx:1.27, or a tar's path")
                return
            manifest = open_image(name, **self._given())
            made = Explorer(manifest, self._tree)
        except Exception as error:  # noqa: BLE001 - shown where the user looks
            self.error.value = parts.problem(told.line(error))
            return
        before, self.explorer = self.explorer, made
        self.error.value = ""
        self.children = [*self._fields, made]
        if before is not None:
            before.close()
        recent.add(name)
        self._fill_recent()
