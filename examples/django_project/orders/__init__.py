"""Orders, which plans deliver."""
