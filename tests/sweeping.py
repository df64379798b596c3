"""Looks of a reconciler that is played by hand, and that no time passes in."""

import uuid

from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler, Round
from execution.sweeps import Sweep

NOBODY = str(uuid.UUID(int=0))
_MOST = 200


def look(
    liveness: LivenessRecords,
    *,
    worker_id: str = NOBODY,
    beat_seconds: float = 1.0,
    grace_seconds: float = 3600.0,
) -> Sweep:
    """Return what there is to see to; nobody is silent for long enough to be dead."""
    return liveness.sweep(
        worker_id,
        tick_seconds=0.0,
        lease_seconds=grace_seconds,
        beat_seconds=beat_seconds,
        most=_MOST,
    )


def run_round(reconciler: Reconciler) -> Round:
    """Look, and see to all that is found."""
    return reconciler.mend(reconciler.look(NOBODY))
