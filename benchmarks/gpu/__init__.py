"""Everything measured on a GPU in one call of at most nine minutes: see run.sh, and pack.sh for what it needs."""
