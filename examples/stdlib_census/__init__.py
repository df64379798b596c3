"""A census of the Python standard library, taken by a plan.

`plan.yaml` says what runs after what, and `actions` is all that knows of plans. The
rest is ordinary Python; a row imports only from itself, to its right, and from below:

    the plan calls   actions
    find, count      shard ──▶ census ──▶ scanner, lines
    tell             publishing ──▶ report, picture ──▶ markdown, svg, wording
    understand       survey ──▶ importgraph
    values           tally, library
"""
