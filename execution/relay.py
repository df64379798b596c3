"""Carries word between executions: how parents stand, and how their children ended.

Called by whoever moved or finished an execution and, should that one die, by a
reconciler; word that was left stays until it is carried, and is carried once. What has
returned holds for every execution below: none of their steps starts after a pause.

Knows nothing of plans, and of Celery only the dispatcher that it hands windows to.
"""

import logging

from .children import Word
from .dispatcher import ExecutionDispatcher
from .ending import finish_execution, finish_stopped
from .events import ExecutionEventEmitter
from .records import StepRecords

logger = logging.getLogger(__name__)

_MOST_LOOKS = 5
"""How often the children are looked at while their parent is moved again and again."""


class ExecutionRelay:
    """Lets children follow their parents, and parents hear of their children's end."""

    def __init__(
        self,
        records: StepRecords,
        dispatcher: ExecutionDispatcher,
        emitter: ExecutionEventEmitter,
        *,
        makes_results: bool = True,
    ) -> None:
        """Write through `records`, send through the others.

        Unless it `makes_results`, executions that need one are left to a reconciler.
        """
        self._records = records
        self._end = finish_execution if makes_results else finish_stopped
        self._children = records.children
        self._dispatcher = dispatcher
        self._emitter = emitter

    def finish(self, execution_id: str) -> bool:
        """Finish an execution without open steps, and tell its parent, if it has one.

        Says whether this call finished it.
        """
        landed = self._end(self._records, self._emitter, execution_id)
        self.tell_parent(execution_id)
        return landed

    def tell_parent(self, execution_id: str) -> bool:
        """Tell the parent of an execution that has ended; and so on up.

        Says whether a parent was told: False for one that has none.
        """
        told = self._children.end(execution_id)
        is_told = told is not None
        while told is not None:
            parent, completion = told.execution_id, told.completion
            self._emitter.emit(
                parent, completion.last_seq, is_last=completion.has_ended
            )
            self._dispatcher.publish(completion.windows)
            if completion.is_last:
                self._end(self._records, self._emitter, parent)
            elif not completion.has_ended:
                break
            told = self._children.end(parent)
        return is_told

    def carry(self, execution_id: str) -> int:
        """Bring all that lies below an execution to where that stands, or tell its end.

        Returns how many executions heard of it. What cannot be carried now, because the
        execution is moved meanwhile, is carried by whoever moves it.
        """
        heard = 0
        for _ in range(_MOST_LOOKS):
            word = self._children.read_word(execution_id)
            if word.children:
                heard += sum(map(self._move, word.children))
            else:
                return heard + self._close(execution_id, word)
        return heard

    def _close(self, execution_id: str, word: Word) -> int:
        if word.number is None:
            return 0
        if word.has_ended:
            # who tells of an end forgets it: if that fails, it is told once more
            return int(self.tell_parent(execution_id))
        self._children.forget_word(execution_id, word.number)
        return 0

    def _move(self, child_id: str) -> int:
        moved = self._children.move(child_id)
        if moved.act is None:
            return 0
        logger.info(
            "child follows its parent",
            extra={"execution_id": child_id, "act": moved.act},
        )
        self._emitter.emit(child_id, moved.last_seq)
        self._dispatcher.publish(moved.windows)
        if moved.has_to_finish:
            self.finish(child_id)
        return 1 + self.carry(child_id)
