"""Sizes of BERT that Google has published, by name. Imports no room, so that a command can check and list them."""

from __future__ import annotations

import difflib
import math
import re
from typing import Final, NamedTuple

from glassbert.errors import ConfigError


class Sizes(NamedTuple):
    """What the sizes of one BERT follow from.

    Attributes:
        layers: how many there are.
        width: of a token's vector; 64 for each head, and a quarter of the feed-forward's.
    """

    layers: int
    width: int


# The 24 of arXiv 1908.08962, five of which have names, and BERT-large of arXiv 1810.04805.
_NAMED: Final = {
    "tiny": Sizes(2, 128),
    "mini": Sizes(4, 256),
    "small": Sizes(4, 512),
    "medium": Sizes(8, 512),
    "base": Sizes(12, 768),
    "large": Sizes(24, 1024),
}
_PUBLISHED: Final = (
    *(Sizes(layers, width) for layers in (2, 4, 6, 8, 10, 12) for width in (128, 256, 512, 768)),
    _NAMED["large"],
)

PRESETS: Final = {**_NAMED, **{f"{sizes.layers}x{sizes.width}": sizes for sizes in _PUBLISHED}}
"""Name → sizes: tiny to large, then every size as layers x width."""

# As a person, and as Google's folders write it: 4x256, L-4_H-256, uncased_L-4_H-256_A-4.
_WRITTEN: Final = re.compile(r"(?:(\d{1,6})x(\d{1,6})|(?:uncased_)?L-(\d{1,6})_H-(\d{1,6})(?:_A-(\d{1,6}))?)")


def preset_sizes(name: str) -> dict[str, int]:
    """Return the sizes of a preset, by the names of `BertConfig`.

    Args:
        name: one of `PRESETS`, or Google's way to write it: L-4_H-256 or uncased_L-4_H-256_A-4 for 4x256.

    Raises:
        ConfigError: there is no such preset, with those that there are and the nearest.
    """
    written = _WRITTEN.fullmatch(name) if isinstance(name, str) else None
    sizes = PRESETS.get(name) if isinstance(name, str) else None
    if written:
        layers, width, heads = written[1] or written[3], written[2] or written[4], written[5]
        sizes = Sizes(int(layers), int(width))
        if sizes not in _PUBLISHED or (heads and int(heads) * 64 != sizes.width):
            raise _unknown(name, _nearest(sizes))
    if sizes is None:
        near = difflib.get_close_matches(name.lower(), PRESETS, n=1) if isinstance(name, str) else []
        raise _unknown(name, near[0] if near else None)
    return {
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.width // 64,
        "intermediate_size": 4 * sizes.width,
    }


def _nearest(sizes: Sizes) -> str:
    """Return the name of the published sizes that are nearest by their ratios."""

    def distance(other: Sizes) -> float:
        return sum(abs(math.log(max(one, 1) / two)) for one, two in zip(sizes, other, strict=True))

    near = min(_PUBLISHED, key=distance)
    return f"{near.layers}x{near.width}"


def _unknown(name: object, near: str | None) -> ConfigError:
    hint = f"; did you mean {near!r}?" if near else ""
    return ConfigError(f"preset is {name!r}, expected one of {', '.join(PRESETS)}{hint}")
