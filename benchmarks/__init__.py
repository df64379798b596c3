"""Measurements: each is a ratio against a reference in the same run.

    python -m benchmarks            every system side by side, `make bench`
    python -m benchmarks.report     the table and the plot of docs/performance.md
    python -m benchmarks.recovery   from a kill until work goes on
    python -m benchmarks.backlog    messages that are sent although none was lost
    python -m benchmarks.idle       what workers cost that have nothing to do
    python -m benchmarks.million    whether the millionth step is as fast as the first

Data flows one way: stage (servers) → systems (one file each) → workloads → rounds →
results (JSON) → tables, report, plot.
"""
