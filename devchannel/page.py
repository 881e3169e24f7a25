"""The chat page's files and the headers that they are served with."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "static"

STATIC = {"/": _FOLDER / "index.html"} | {
    f"/chat/{file}": _FOLDER / file
    for file in (
        "style.css",
        "api.js",
        "app.js",
        "chat.js",
        "directline.js",
        "activities.js",
        "cards.js",
        "markdown.js",
        "panel.js",
        "knowledge.js",
        "dom.js",
        "icon.svg",
    )
}
"""Path to file: nothing else of the folder is served."""

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: https: http:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
