"""Records of how a model was trained and what it scored: see docs/development.md."""
