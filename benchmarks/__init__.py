"""Side-by-side measurements: the project and a peer, interleaved in one process, medians and ratios."""
