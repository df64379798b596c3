"""A second opinion: what a plan comes to, worked out from the user's pages alone.

It knows neither the engine nor its tables. A document and the fates of its steps go
in; then it is told, in the order of the timeline, what only chance decides: which ready
step begins, which running one ends, when somebody cancels. Everything that follows from
that it says itself, and it refuses what must not be.

Its expressions are those of `tests.conformance.paths`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tests.conformance.nodes import Fate, Node
from tests.conformance.paths import UnreadableError, fill_in, judge, read

OPEN = {"pending", "ready", "running", "waiting"}
SETTLED = {"completed", "skipped"}


class ImpossibleError(AssertionError):
    """The engine did what the pages do not allow."""


class Interpreter:
    """One execution of one document."""

    def __init__(
        self,
        document: Mapping[str, Any],
        parameters: Mapping[str, Any],
        fate_of: Callable[[str], Fate],
    ) -> None:
        """Begin: the roots are ready."""
        self.document = document
        self.parameters = parameters
        self.fate_of = fate_of
        self.nodes = {s["id"]: Node(s["id"], s) for s in document["steps"]}
        self.reason: str | None = None
        self.section = "steps"
        self.queue: list[Node] = []
        self.completed: list[Node] = []
        self.restores = 0
        self._draw_edges()
        for node in self._of("steps"):
            if not node.needs and node.stands_in_for is None:
                node.status = "ready"

    def _draw_edges(self) -> None:
        for node in self.nodes.values():
            if isinstance(node.policy, dict) and "fallback" in node.policy:
                node.fallback = self.nodes[node.policy["fallback"]]
                node.fallback.stands_in_for = node
            if "run_on" in node.written:
                node.section = "end"
        line = [n for n in self._of("steps") if n.stands_in_for is None]
        self.is_sequence = all("needs" not in n.written for n in line)
        for position, node in enumerate(line):
            if self.is_sequence:
                node.needs = line[max(position - 1, 0) : position]
            else:
                node.needs = [self.nodes[need] for need in node.written["needs"]]
        self.leaves = [n for n in line if not any(n in m.needs for m in line)]

    def _of(self, section: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.section == section]

    # what chance decides

    def start(self, name: str) -> None:
        """A worker begins with a step."""
        node = self._find(name)
        self._demand(node.status == "ready", f"{name} starts while {node.status}")
        self._demand(node.section == self.section, f"{name} starts in {self.section}")
        if node.section == "steps":
            self._demand(self.reason is None, f"{name} starts after the end began")
        node.status = "running"
        node.attempt += 1
        if node.owner is not None:
            running = sum(item.status == "running" for item in node.owner.items)
            most = node.owner.written.get("max_parallel", running)
            self._demand(running <= most, f"{running} items of {node.owner.name} run")

    def retry(self, name: str, *, parks: bool) -> None:
        """An attempt has failed, and another follows."""
        node = self._find(name)
        self._demand(node.status == "running", f"{name} is tried again")
        self._demand(self._retries(node), f"{name} is tried again without reason")
        node.failures += 1
        if parks:
            node.status, node.parks = "waiting", True
        else:
            node.attempt += 1

    def wake(self, name: str) -> None:
        """The time has come that a step waited for."""
        node = self._find(name)
        self._demand(node.parks, f"{name} is woken")
        node.status, node.parks = "ready", False

    def end(self, name: str) -> None:
        """The step that runs has ended, by its condition or its code."""
        node = self._find(name)
        self._demand(node.status == "running", f"{name} ends while {node.status}")
        try:
            self._run(node)
        except UnreadableError:
            self._fail(node, "E007")
        self._advance()

    def cancel(self) -> None:
        """Somebody wants no more of it."""
        self._stop("cancel")
        self._advance()

    # what a step comes to

    def _run(self, node: Node) -> None:
        condition = node.written.get("when")
        is_asked = node.owner is None and node.failures == 0 and not node.items
        if condition is not None and is_asked:
            wanted = judge(condition, self._scope(node))
            if not wanted:
                self._skip(node, "condition")
                return
        if "for_each" in node.written and node.owner is None:
            self._expand(node)
            return
        if "repeat" in node.written:
            self._turn(node, node.written["repeat"])
            return
        saw = fill_in((node.written.get("with") or {}).get("saw"), self._scope(node))
        fate = self.fate_of(node.name)
        if node.attempt <= fate.failing_attempts:
            is_last = node.failures + 1 == node.max_attempts
            is_over = fate.is_fatal or is_last
            stopped = self.reason is not None and node.section == "steps"
            self._demand(is_over or stopped, f"{node.name} was not tried again")
            self._fail(node, "E005" if is_last and not fate.is_fatal else "E003")
        elif fate.asks and self._is_unwanted(node):
            node.status = "cancelled"
            node.error = {"code": "E004", "step": node.name}
            self._end_item(node)
        else:
            self._succeed(node, fate.build_result(node.name, saw))

    def _retries(self, node: Node) -> bool:
        fate = self.fate_of(node.name)
        return (
            node.attempt <= fate.failing_attempts
            and not fate.is_fatal
            and node.failures + 1 < node.max_attempts
            and (self.reason is None or node.section != "steps")
        )

    def _is_unwanted(self, node: Node) -> bool:
        if node.section != "steps":
            return False
        return self.reason == "cancel" or (
            self.reason == "abort" and self.document.get("failing") == "cancel_running"
        )

    def _expand(self, node: Node) -> None:
        items = read(node.written["for_each"], self._scope(node))
        if not isinstance(items, list):
            raise UnreadableError
        if self.reason is not None and node.section == "steps":
            node.status = "cancelled"
            return
        if not items:
            node.results = []
            self._succeed(node, None)
            return
        node.status = "waiting"
        at_once = node.written.get("max_parallel", len(items))
        for index, item in enumerate(items):
            name = f"{node.name}[{index}]"
            child = Node(name, node.written, section=node.section, owner=node)
            child.item = {"item": item, "index": index}
            child.status = "ready" if index < at_once else "pending"
            node.items.append(child)
            self.nodes[name] = child

    def _turn(self, node: Node, repeat: Mapping[str, Any]) -> None:
        """Go on with a loop, or end it as its last iteration has ended."""
        last = node.items[-1] if node.items else None
        if last is not None and last.error is not None:
            self._fail(node, str(last.error["code"]), last.name)
            return
        begun = len(node.items)
        until = repeat.get("until")
        is_enough = begun == repeat["times"]
        if last is not None and until is not None:
            scope = self._scope(node) | {"last": last.result, "index": begun - 1}
            if not judge(until, scope) and is_enough:
                self._fail(node, "E003")
                return
            is_enough = judge(until, scope)
        if last is not None and is_enough:
            self._succeed(node, last.result)
        elif self.reason is not None:
            node.status = "cancelled"
        else:
            self._add_iteration(node, repeat, last and last.result)

    def _add_iteration(
        self, node: Node, repeat: Mapping[str, Any], last: object
    ) -> None:
        index = len(node.items)
        written = {"with": repeat["with"], "retry": node.written["retry"]}
        child = Node(f"{node.name}[{index}]", written, owner=node)
        child.item = {"last": last, "index": index}
        child.parks = "wait" in repeat and index > 0
        child.status = "waiting" if child.parks else "ready"
        node.status = "waiting"
        node.items.append(child)
        self.nodes[child.name] = child

    def _succeed(self, node: Node, result: object) -> None:
        node.status, node.result = "completed", result
        if node.owner is not None:
            self._end_item(node)
            return
        self.completed.append(node)
        self._drop_fallback(node)
        if node.stands_in_for is not None and node.stands_in_for.status == "waiting":
            self._succeed(node.stands_in_for, result)
        self._release()

    def _skip(self, node: Node, reason: str) -> None:
        node.status, node.reason = "skipped", reason
        if node.owner is not None:
            self._end_item(node)
            return
        self._drop_fallback(node)
        origin = node.stands_in_for
        if origin is not None and origin.status == "waiting":
            # the policy of the last one decides for all of them
            self._skip(origin, "failed")
        self._release()

    def _fail(self, node: Node, code: str, step: str | None = None) -> None:
        node.error = {"code": code, "step": step or node.name}
        if node.undoes is not None:
            node.status = "failed"
        elif node.policy == "skip":
            self._skip(node, "failed")
        elif node.fallback is not None and self.reason is None:
            node.status = "waiting"
            node.fallback.status = "ready"
        elif self._may_go_back(node):
            self._go_back(node)
        else:
            self._give_up(node)

    def _may_go_back(self, node: Node) -> bool:
        policy = node.policy
        if not isinstance(policy, dict) or "restore" not in policy:
            return False
        return self.reason is None and node.restores < policy["times"]

    def _go_back(self, failed: Node) -> None:
        """Begin anew at an earlier step, with all that comes after it."""
        failed.restores += 1
        self.restores += 1
        assert isinstance(failed.policy, dict)
        target = self.nodes[failed.policy["restore"]]
        anew = [target]
        for node in anew:
            followers = [n for n in self._of("steps") if node in n.needs]
            followers += [node.fallback] if node.fallback else []
            anew += [n for n in followers if n not in anew]
        for node in anew:
            self._cancel([i for i in node.items if i.status in OPEN], and_running=True)
            for item in node.items:
                del self.nodes[item.name]
                item.name += f"~{self.restores}"
                self.nodes[item.name] = item
            node.reset()
        self.completed = [node for node in self.completed if node not in anew]
        if not target.needs:
            target.status = "ready"
        self._release()

    def _give_up(self, node: Node) -> None:
        node.status = "failed"
        origin = node.stands_in_for
        while origin is not None and origin.status == "waiting":
            origin.status = "failed"
            origin = origin.stands_in_for
        if node.owner is not None:
            self._end_item(node)
        elif node.section == "steps":
            self._stop("abort")

    def _end_item(self, item: Node) -> None:
        """Count an item that has ended in the step that waits for it."""
        owner = item.owner
        if owner is None or owner.status != "waiting":
            return
        if "repeat" in owner.written:
            owner.status = "ready"
            return
        skipped = sum(i.status == "skipped" for i in owner.items)
        if item.status not in SETTLED or skipped > self._tolerated(owner):
            aborts = item.status not in SETTLED
            code = item.error["code"] if aborts and item.error else "E003"
            owner.error = {"code": code, "step": owner.name}
            self._cancel([i for i in owner.items if i.status != "running"])
            self._give_up(owner)
        elif all(i.status in SETTLED for i in owner.items):
            owner.results = [i.result for i in owner.items]
            self._succeed(owner, None)
        else:
            waiting = [i for i in owner.items if i.status == "pending"]
            if waiting:
                waiting[0].status = "ready"

    def _tolerated(self, owner: Node) -> float:
        tolerate = owner.written.get("tolerate")
        if tolerate is None:
            return len(owner.items)
        if isinstance(tolerate, str):
            return len(owner.items) * float(tolerate.removesuffix("%")) / 100
        return int(tolerate)

    def _drop_fallback(self, node: Node) -> None:
        unused = node.fallback
        while unused is not None and unused.status == "pending":
            unused.status, unused.reason = "skipped", "unused"
            unused = unused.fallback

    # what follows

    def _release(self) -> None:
        """Let go on what waited for nothing else, until nothing more follows."""
        if self.reason is not None:
            return
        for node in self._of("steps"):
            if node.status != "pending" or not node.needs or node.owner:
                continue
            if any(need.status not in SETTLED for need in node.needs):
                continue
            if self.is_sequence or any(n.status == "completed" for n in node.needs):
                node.status = "ready"
            else:
                self._skip(node, "needs")

    def _stop(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason
            self._cancel(self._of("steps"))

    def _cancel(self, nodes: list[Node], *, and_running: bool = False) -> None:
        for node in nodes:
            if node.status in {"pending", "ready", "waiting"} or and_running:
                node.status, node.parks = "cancelled", False

    def _advance(self) -> None:
        """Begin the next of what comes after the steps, if nothing is open."""
        while self.section != "over":
            if any(n.status in OPEN for n in self.nodes.values() if self._counts(n)):
                return
            if self.queue:
                self.queue.pop(0).status = "ready"
                return
            self.reason = self.reason or "result"
            if self.section == "steps":
                self.section = "rollback"
                self.queue = self._plan_rollback()
            elif self.section == "rollback":
                self.section = "end"
                self.queue = [n for n in self._of("end") if self._is_asked_for(n)]
            else:
                self.section = "over"

    def _counts(self, node: Node) -> bool:
        return (
            node.section == self.section
            and node not in self.queue
            and (node.section != "end" or self._is_asked_for(node))
        )

    def _is_asked_for(self, node: Node) -> bool:
        return node.written["run_on"] == "always" or self.reason != "result"

    def _plan_rollback(self) -> list[Node]:
        causes = self.document.get("rollback", [])
        causes = [causes] if isinstance(causes, str) else causes
        names = {"abort": "on_failure", "deadline": "on_failure", "cancel": "on_cancel"}
        if names.get(str(self.reason)) not in causes:
            return []
        undone = [n for n in reversed(self.completed) if "undo" in n.written]
        added = [
            Node(f"{n.name}.undo", n.written["undo"], section="rollback", undoes=n)
            for n in undone
        ]
        self.nodes.update({node.name: node for node in added})
        return added

    # what it all comes to

    def conclude(self) -> tuple[str, object]:
        """Return the terminal state of the execution and its result."""
        self._demand(self.section == "over", f"it ended in {self.section}")
        if self.reason != "result":
            ends = {"abort": "failed", "cancel": "cancelled"}
            return ends[str(self.reason)], None
        template = self.document.get("result")
        if template is None:
            only = self.leaves[0].result if len(self.leaves) == 1 else None
            return "completed", only
        try:
            return "completed", fill_in(template, self._scope(None))
        except UnreadableError:
            return "failed", None

    def list_ended(self) -> dict[str, Node]:
        """Return the steps that the execution has by now."""
        return {
            name: node
            for name, node in self.nodes.items()
            if node.section != "end"
            or node.owner is not None
            or self._is_asked_for(node)
        }

    # expressions

    def _scope(self, node: Node | None) -> dict[str, object]:
        seen = {name: n.outcome() for name, n in self.nodes.items()}
        for other in self._of("end"):
            if other.status == "pending":
                seen[other.name]["status"] = "skipped"
        scope: dict[str, object] = {"steps": seen, "parameters": self.parameters}
        if node is not None:
            scope |= node.item
            if node.undoes is not None:
                scope["step"] = node.undoes.outcome()
            if node.stands_in_for is not None:
                scope["failure"] = node.stands_in_for.error
        return scope

    def _find(self, name: str) -> Node:
        self._demand(name in self.nodes, f"there is no {name}")
        return self.nodes[name]

    def _demand(self, is_so: bool, otherwise: str) -> None:
        if not is_so:
            raise ImpossibleError(otherwise)
