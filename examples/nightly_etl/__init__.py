"""A nightly load of CSV files into a table, safe to repeat.

`plan.yaml` says what runs after what, `actions` is all that knows of plans, and `sales`
is the table.
"""
