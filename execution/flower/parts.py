"""What the handlers of one tab share.

Promises: it only holds them together; `executions` makes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .assets import Asset
from .pulse import Pulse
from .source import ServiceSource
from .streams import Streams


@dataclass(frozen=True)
class Tab:
    """The parts of a tab."""

    source: ServiceSource
    pulse: Pulse
    streams: Streams
    assets: Mapping[str, Asset]
