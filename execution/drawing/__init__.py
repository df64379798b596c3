"""Plans as pictures: Mermaid for pages, DOT for Graphviz, SVG for everything else.

    Plan, states ─▶ pictures ─▶ folding ─▶ mermaid | dot ─────▶ text
                                        └▶ layout ─▶ svg ─────▶ text

    formats    the door: a picture and a format become text
    pictures   nodes and edges, with the words that stand on them
    folding    many like steps become one node, so that a large plan stays legible
    layout     where everything lies in the SVG
    palette    the colours of the states

Pure: the same plan gives the same text. Whatever a plan names (actions, queues) is
escaped for the format that it goes into.
"""
