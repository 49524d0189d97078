"""How a model was trained and what it scored, told once: see docs/development.md."""
