"""Experiments: a YAML file each, which experiments/Snakefile makes jobs of."""
