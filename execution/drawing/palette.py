"""The colours of the states, on light paper and on dark.

Promises: every state has them; each text stands out from its fill, and the state is
written on the node as well, for who cannot tell the colours apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..states import StepStatus


@dataclass(frozen=True)
class Colours:
    """How a node is painted."""

    fill: str
    stroke: str
    text: str


@dataclass(frozen=True)
class Paint:
    """The colours on light paper, and on dark."""

    light: Colours
    dark: Colours


PLAIN = Paint(
    Colours("#ffffff", "#57606a", "#1f2328"), Colours("#161b22", "#8b949e", "#e6edf3")
)
"""For steps without a state."""

_DONE = Paint(
    Colours("#dafbe1", "#1a7f37", "#0f3d1e"), Colours("#12351f", "#3fb950", "#d3f5dc")
)
_BUSY = Paint(
    Colours("#ddf4ff", "#0969da", "#06305f"), Colours("#0c2d4a", "#58a6ff", "#d6eaff")
)
_LATE = Paint(
    Colours("#fff8c5", "#9a6700", "#4d3400"), Colours("#3a2c05", "#d29922", "#f8e3a1")
)
_WRONG = Paint(
    Colours("#ffebe9", "#cf222e", "#6e0b12"), Colours("#451317", "#f85149", "#ffdcd7")
)
_LEFT_OUT = Paint(
    Colours("#eaeef2", "#8c959f", "#424a53"), Colours("#2d333b", "#8b949e", "#cdd9e5")
)

PAINTS: Mapping[StepStatus, Paint] = MappingProxyType(
    {
        StepStatus.PENDING: PLAIN,
        StepStatus.READY: PLAIN,
        StepStatus.RUNNING: _BUSY,
        StepStatus.WAITING: _LATE,
        StepStatus.COMPLETED: _DONE,
        StepStatus.FAILED: _WRONG,
        StepStatus.TIMED_OUT: _WRONG,
        StepStatus.SKIPPED: _LEFT_OUT,
        StepStatus.CANCELLED: _LEFT_OUT,
    }
)
