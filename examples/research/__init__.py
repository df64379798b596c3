"""A question that is looked up by tools, judged, and looked up once more if need be.

`plan.yaml` says what runs after what, `actions` is all that knows of plans, and
`library` is the tool: it looks things up in docstrings.
"""
