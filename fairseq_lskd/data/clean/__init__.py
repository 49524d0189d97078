"""Clean a bitext: steps on each pair, duplicates, held-out pairs, and a report of what was dropped."""
