"""A page about a style, in Markdown with a YAML head: a model card as Hugging Face's hub shows it."""

from __future__ import annotations

import json
import re

from pleinair.models import Card
from pleinair.network.floating import FLOAT_BITS
from pleinair.text import one_line

#: Characters that Markdown would take for more than text.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|!])")


def _plain(text: str) -> str:
    return _MARKUP.sub(r"\\\1", one_line(text))


def style_page(name: str, card: Card, file: str) -> str:
    """The page of a style that ``file`` holds. What the card says is shown as text, whatever it holds."""
    licence = re.sub(r"[^a-z0-9.-]", "", card.licence.lower()) or "other"
    title = card.painting.title or "an unnamed painting"
    bits = ", ".join("float" if b == FLOAT_BITS else f"{b} bits" for b in sorted(card.networks))
    adaptive = any(network.adaptive for network in card.networks.values())
    light = "Each frame is painted in its own light." if adaptive else "Every frame is painted in one light."
    rows = [
        ("painting", f"{_plain(title)} ({_plain(card.painting.licence or 'licence not said')})"),
        ("networks", bits),
        ("licence of the networks", _plain(card.licence or "not said")),
    ]
    for key in ("width", "blocks"):
        if key in card.architecture:
            rows.append((key, _plain(str(card.architecture[key]))))
    table = "\n".join(f"| {key} | {value} |" for key, value in rows)
    return f"""---
license: {licence}
library_name: pleinair
pipeline_tag: image-to-image
tags:
- style-transfer
- time-lapse
- quantized
model_name: {json.dumps(one_line(name))}
---

# {_plain(name)}

A network for pleinair, the time-lapse camera that paints, trained on {_plain(title)}. {light}

| | |
| --- | --- |
{table}

    pleinair styles add {file}
    pleinair paint photo.jpg painting.png --style {name}

The networks compute integers, so their paintings are the same on every machine, bit for bit. `{file}` holds
a picture and what the networks paint of it; a machine that adds the style paints that picture too and compares.
"""
