"""driftline: machine-learning monitoring on event streams.

Importing this package is what a service does to publish events, so it stays light: no Faust, no ClickHouse, no pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftline.sinks.publisher import Publisher as Publisher

__version__ = "0.1.0"
__all__ = ["Publisher", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Publisher":
        from driftline.sinks.publisher import Publisher

        return Publisher
    raise AttributeError(f"module 'driftline' has no attribute {name!r}")
