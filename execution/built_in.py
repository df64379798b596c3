"""The names of what steps do that call no action of the user's.

Promises: `sql/09_workers.sql` has the same ones. Every worker can do them, and none
publishes them.
"""

RUN_PLAN_ACTION = "plans.run_plan"
"""What workers call the steps that run a plan."""
SLEEP_ACTION = "plans.sleep"
"""What workers call the steps that sleep."""
WAIT_ACTION = "plans.wait_for"
"""What workers call the steps that wait for a signal."""
BUILT_IN_ACTIONS = frozenset((RUN_PLAN_ACTION, SLEEP_ACTION, WAIT_ACTION))
