"""An order that is fulfilled whole, or undone whole.

`plan.yaml` says what runs after what and what takes it back, `actions` is all that
knows of plans, and `ledger` stands for the services that keep stock and money.
"""
