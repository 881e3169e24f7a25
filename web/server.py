"""How the HTTP server treats connections, before and beside any handler."""

from __future__ import annotations

from typing import Any

SERVER: dict[str, Any] = {"auto_decompress": False, "lingering_time": 2.0}
"""For aiohttp's server. Bodies are inflated by who reads them, once it is known who asks; what a refused request still
sends is read for a short while, so that its client sees the answer."""
