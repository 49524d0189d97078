"""Experiments: each is a YAML file, from which experiments/Snakefile makes jobs."""
