"""An agent that decides, acts and observes, turn by turn, until it has an answer.

`plan.yaml` repeats `turn.yaml`; `actions` is all that knows of plans, `policy` decides
what is done, and `tools` do it.
"""
