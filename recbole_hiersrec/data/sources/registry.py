"""All public data sets by name."""

from __future__ import annotations

from recbole_hiersrec.data.sources import (
    amazon2014,
    completejourney,
    diginetica,
    globo,
    movielens,
    retailrocket,
    s3rec,
    wikispeedia,
    yoochoose,
)
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.errors import InputError, nearest

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        movielens.SOURCE,
        completejourney.SOURCE,
        *s3rec.SOURCES,
        *amazon2014.SOURCES,
        diginetica.SOURCE,
        retailrocket.SOURCE,
        *yoochoose.SOURCES,
        wikispeedia.SOURCE,
        globo.SOURCE,
    )
}


def find_source(name: str) -> Source:
    """The public data set ``name``.

    Raises:
        InputError: there is none of this name.
    """
    if name not in SOURCES:
        raise InputError(
            f"unknown data set '{name}'{nearest(name, SOURCES)} (hiersrec data list shows all; a log of your own "
            "needs --events FILE)"
        )
    return SOURCES[name]
