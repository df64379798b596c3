"""The action of simulated steps: it does what fate has drawn for its step.

It proves by its result which attempt it was, and tells things on the way, so that late
writes of every kind are tried.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from execution.context import Context
from execution.recovery import Recovery
from tests.simulation.gate import Gate
from tests.simulation.plans import Fate, StepFate, Telling, draw_fate

_HANGS_SECONDS = 100
_PARTS = 3


@dataclass(frozen=True)
class Work:
    """What all steps of a world call."""

    gate: Gate
    fates: Mapping[tuple[str, int], StepFate]
    yields: bool
    """Whether it is done in parts, with a checkpoint after each."""

    def build_action(self) -> Callable[..., dict[str, object]]:
        """Return the function that is registered."""

        def work(
            ctx: Context, needed: dict[str, object], before: object = None
        ) -> dict[str, object]:
            held = ctx._held
            key = (held.execution_id, held.position)
            self.gate.watchdog.check_effect(*key, held.token)
            self.gate.touch(f"effect of {ctx.step}, attempt {ctx.attempt}, {needed}")
            # items are not known beforehand
            fate = self.fates.get(key) or draw_fate(random.Random(f"fate {key}"))
            self._work(ctx, fate.work_seconds)
            self._suffer(ctx, fate)
            _tell(ctx, fate.telling)
            if fate.fails(ctx.attempt):
                raise RuntimeError(f"attempt {ctx.attempt} fails by fate")
            return {"attempt": ctx.attempt, "token": held.token}

        return work

    def build_strategy(self) -> Callable[..., Recovery]:
        """Return the function that is registered as a strategy: fate decides."""
        work = self.build_action()

        def decide(ctx: Context, failure: dict[str, object]) -> Recovery:
            done = work(ctx, {})
            dice = random.Random(f"decision {ctx.idempotency_key} {ctx.attempt}")
            made = (
                Recovery.complete(done),
                Recovery.skip(),
                Recovery.abort(),
                Recovery.retry(),
                # which need not come before
                Recovery.restore("s0"),
            )
            decision = dice.choices(made, [2, 2, 2, 3, 3])[0]
            self.gate.havoc.misfortune.count(f"decisions to {decision.kind}")
            return decision

        return decide

    def _work(self, ctx: Context, seconds: float) -> None:
        if not self.yields:
            self.gate.scheduler.sleep(seconds)
            return
        for part in range(int(ctx.checkpoint.get("parts", 0)), _PARTS):
            self.gate.scheduler.sleep(seconds / _PARTS)
            ctx.save_checkpoint({"parts": part + 1})

    def _suffer(self, ctx: Context, fate: StepFate) -> None:
        scheduler, havoc = self.gate.scheduler, self.gate.havoc
        child = havoc.find_child(scheduler.current.process)
        assert child is not None
        if fate.fate is Fate.KILLS:
            havoc.misfortune.count("processes killed by their step")
            child.worker.kill_child(child.pid)
            scheduler.switch("is killed by its step")
        elif fate.fate is Fate.HANGS:
            for _ in range(_HANGS_SECONDS):
                scheduler.sleep(1.0)
                if fate.obeys and child.is_asked_to_end:
                    havoc.misfortune.count("attempts interrupted")
                    summons = ctx.find_summons()
                    assert summons is not None
                    raise summons.error


def _tell(ctx: Context, telling: Telling) -> None:
    match telling:
        case Telling.NOTHING:
            pass
        case Telling.PROGRESS:
            ctx.progress(50, "half")
        case Telling.CHECKPOINT:
            ctx.save_checkpoint({"attempt": ctx.attempt})
        case Telling.LINE:
            ctx.log.info("told")
        case Telling.QUESTION:
            ctx.raise_if_cancelled()
