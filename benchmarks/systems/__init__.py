"""The systems that are measured, one file each; `catalog` lists them."""
