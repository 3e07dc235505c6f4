#!/usr/bin/env bash
# Which Dice medpy gives where there is nothing to find and nothing was found depends on NumPy: 1 up to NumPy 2.2, nan from 2.3 on, and nan makes the
# mean over a data set nan. Jaccard, ten lines below, stays 1. Its guard waits for ZeroDivisionError; since 2.3 NumPy's count_nonzero returns its own
# integer, and those divide by zero with a warning. Precision and recall went from 0 to nan in the same way.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for numpy in 2.2.6 2.4.6; do
    python3 -m venv "$folder/$numpy"
    "$folder/$numpy/bin/pip" install --quiet --disable-pip-version-check medpy==0.5.2 "numpy==$numpy"
    "$folder/$numpy/bin/python" -W ignore - <<'PYTHON' | tee -a "$folder/answers"
from importlib.metadata import version

import numpy as np
from medpy.metric.binary import dc, jc, precision, recall

empty, full = np.zeros((8, 8), bool), np.ones((8, 8), bool)
figures = {"Dice": dc(empty, empty), "Jaccard": jc(empty, empty), "precision": precision(empty, full), "recall": recall(full, empty)}
print(f"  medpy {version('medpy')}, NumPy {np.__version__}:", ", ".join(f"{name} {float(value)}" for name, value in figures.items()))
PYTHON
done
diff "$folder/answers" - <<'KNOWN'
  medpy 0.5.2, NumPy 2.2.6: Dice 1.0, Jaccard 1.0, precision 0.0, recall 0.0
  medpy 0.5.2, NumPy 2.4.6: Dice nan, Jaccard 1.0, precision nan, recall nan
KNOWN
