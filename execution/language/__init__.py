"""The plan language: from text or mappings to compiled steps, or every fault at once.

    text ─▶ yaml_reader | json_reader ─┐
    mapping ─────▶ mapping_reader ─────┴▶ tree ─▶ validation ─▶ compilation
    canvas ─▶ canvas ─▶ mapping                   │
              └ canvas_parts, canvas_tasks        │
                                                  ├ fields, document
                                                  ├ graph, fallbacks, references
                                                  ├ sections, items, retry_rules
                                                  ├ parameters
                                                  └ rules, findings
    document ─▶ json_schema, for editors

Pure: it reads values that it is given and knows no file, database or broker. Users
meet it as `execution.plan`; workers import only `expressions` and `durations`, which
stay outside so that a worker loads neither pydantic nor YAML.
"""
