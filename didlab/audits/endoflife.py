"""Until when distributions are looked after: Debian's and Ubuntu's own dates.

From the package distro-info-data of Debian, version 0.58+deb12u7 (ISC licence, © Benjamin Drung,
Stefano Rivera and others); a test compares it with the package.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

__all__ = ["DATED", "SOURCE", "Release", "release"]

SOURCE = "distro-info-data 0.58+deb12u7"
#: Of that version of the package.
DATED = date(2026, 4, 25)


class Release(NamedTuple):
    """A release of a distribution.

    Attributes
    ----------
    version, codename : str
        As VERSION_ID and VERSION_CODENAME in os-release.
    released, eol : date or None
        None where no day is known.
    eol_lts : date or None
        Of Debian the end of LTS, of Ubuntu that of ESM (with Ubuntu Pro).
    """

    version: str
    codename: str
    released: date | None
    eol: date | None
    eol_lts: date | None


#: version codename release eol eol-lts
_DEBIAN = """\
1.1 buzz 1996-06-17 1997-06-05 -
1.2 rex 1996-12-12 1998-06-05 -
1.3 bo 1997-06-05 1999-03-09 -
2.0 hamm 1998-07-24 2000-03-09 -
2.1 slink 1999-03-09 2000-10-30 -
2.2 potato 2000-08-15 2003-06-30 -
3.0 woody 2002-07-19 2006-06-30 -
3.1 sarge 2005-06-06 2008-03-31 -
4.0 etch 2007-04-08 2010-02-15 -
5.0 lenny 2009-02-14 2012-02-06 -
6.0 squeeze 2011-02-06 2014-05-31 2016-02-29
7 wheezy 2013-05-04 2016-04-25 2018-05-31
8 jessie 2015-04-26 2018-06-17 2020-06-30
9 stretch 2017-06-17 2020-07-18 2022-06-30
10 buster 2019-07-06 2022-09-10 2024-06-30
11 bullseye 2021-08-14 2024-08-14 2026-08-31
12 bookworm 2023-06-10 2026-07-11 2028-06-30
13 trixie 2025-08-09 2028-08-09 2030-06-30
14 forky - - -
15 duke - - -"""
#: version codename release eol eol-esm; of servers, where they have one of their own
_UBUNTU = """\
4.10 warty 2004-10-20 2006-04-30 -
5.04 hoary 2005-04-08 2006-10-31 -
5.10 breezy 2005-10-12 2007-04-13 -
6.06 dapper 2006-06-01 2011-06-01 -
6.10 edgy 2006-10-26 2008-04-25 -
7.04 feisty 2007-04-19 2008-10-19 -
7.10 gutsy 2007-10-18 2009-04-18 -
8.04 hardy 2008-04-24 2013-05-09 -
8.10 intrepid 2008-10-30 2010-04-30 -
9.04 jaunty 2009-04-23 2010-10-23 -
9.10 karmic 2009-10-29 2011-04-30 -
10.04 lucid 2010-04-29 2015-04-30 -
10.10 maverick 2010-10-10 2012-04-10 -
11.04 natty 2011-04-28 2012-10-28 -
11.10 oneiric 2011-10-13 2013-05-09 -
12.04 precise 2012-04-26 2017-04-28 2019-04-26
12.10 quantal 2012-10-18 2014-05-16 -
13.04 raring 2013-04-25 2014-01-27 -
13.10 saucy 2013-10-17 2014-07-17 -
14.04 trusty 2014-04-17 2019-04-25 2024-04-25
14.10 utopic 2014-10-23 2015-07-23 -
15.04 vivid 2015-04-23 2016-02-04 -
15.10 wily 2015-10-22 2016-07-28 -
16.04 xenial 2016-04-21 2021-04-30 2026-04-23
16.10 yakkety 2016-10-13 2017-07-20 -
17.04 zesty 2017-04-13 2018-01-13 -
17.10 artful 2017-10-19 2018-07-19 -
18.04 bionic 2018-04-26 2023-05-31 2028-04-26
18.10 cosmic 2018-10-18 2019-07-18 -
19.04 disco 2019-04-18 2020-01-23 -
19.10 eoan 2019-10-17 2020-07-17 -
20.04 focal 2020-04-23 2025-05-29 2030-04-23
20.10 groovy 2020-10-22 2021-07-22 -
21.04 hirsute 2021-04-22 2022-01-20 -
21.10 impish 2021-10-14 2022-07-14 -
22.04 jammy 2022-04-21 2027-06-01 2032-04-21
22.10 kinetic 2022-10-20 2023-07-20 -
23.04 lunar 2023-04-20 2024-01-25 -
23.10 mantic 2023-10-12 2024-07-11 -
24.04 noble 2024-04-25 2029-05-31 2034-04-25
24.10 oracular 2024-10-10 2025-07-10 -
25.04 plucky 2025-04-17 2026-01-15 -
25.10 questing 2025-10-09 2026-07-09 -
26.04 resolute 2026-04-23 2031-05-29 2036-04-23
26.10 stonking 2026-10-15 2027-07-15 -"""


def _day(text: str) -> date | None:
    return None if text == "-" else date.fromisoformat(text)


def _table(text: str) -> dict[str, Release]:
    found: dict[str, Release] = {}
    for line in text.splitlines():
        version, codename, *days = line.split()
        made = Release(version, codename, *map(_day, days))
        found[version] = found[codename] = made
    return found


_RELEASES = {"debian": _table(_DEBIAN), "ubuntu": _table(_UBUNTU)}


def release(distribution: str, version: str | None, codename: str | None) -> Release | None:
    """Return a release by what os-release says; None where it is not known.

    >>> release("debian", "12", "bookworm").eol
    datetime.date(2026, 7, 11)
    >>> release("debian", None, "trixie").version
    '13'
    >>> release("alpine", "3.20", None)
    """
    known = _RELEASES.get(distribution, {})
    # Point releases were in VERSION_ID once: 6.0.1.
    tries = (version, (version or "").partition(".")[0], codename)
    return next((known[one] for one in tries if one and one in known), None)
