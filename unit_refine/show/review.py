"""Where does a person look at units and label them? One HTML file that needs no network and sends nothing anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).with_name("review.html")
PLACE = '"DATA"'


def page(content: Mapping[str, Any]) -> str:
    """Return the page of what ``score.review.content`` has gathered, the data inside it."""
    data = json.dumps(content, separators=(",", ":"), allow_nan=False)
    safe = (
        data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )  # no text ends the script
    return TEMPLATE.read_text(encoding="utf-8").replace(PLACE, safe, 1)
