"""driftline: machine-learning monitoring on event streams.

Importing this package is what a service does to publish events, so it stays light: no Faust, no ClickHouse, no pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftline.comparison import compare as compare
    from driftline.sinks.publisher import Publisher as Publisher

__version__ = "0.1.0"
__all__ = ["Publisher", "__version__"]  # not `compare`: `import *` must not load what a plain install lacks


def __getattr__(name: str) -> Any:
    if name == "Publisher":
        from driftline.sinks.publisher import Publisher

        return Publisher
    if name == "compare":
        try:
            from driftline.comparison import compare
        except ModuleNotFoundError as error:
            raise ImportError(f"driftline.compare needs the package {error.name!r}\n  fix: pip install 'driftline[worker]'") from error
        return compare
    raise AttributeError(f"module 'driftline' has no attribute {name!r}")
