"""Measurements of what label smoothing erases, for translation models and any other classifier."""
