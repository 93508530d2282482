"""Weight files damaged at random are read or refused."""

import json
import os
import subprocess
import sys

import pytest

import fuzz_weights as fuzz


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux'")
def test_damaged_files_are_read_or_refused(damaged, tmp_path):
    """Nothing else: no crash, no hang, no memory beyond a bound, no code executed; see fuzz_weights.py."""
    command = [sys.executable, fuzz.__file__, str(tmp_path), str(damaged)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800, env=environment)
    assert ran.returncode == 0, ran.stderr[-3000:]
    outcomes = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [outcome["kind"] for outcome in outcomes] == list(fuzz.KINDS)
    for outcome in outcomes:
        assert outcome["read"] + outcome["refused"] == damaged + outcome.get("made", 0), outcome
        assert min(outcome["read"], outcome["refused"]) >= damaged // 20, outcome
        assert outcome["peak_mib"] < 2048, outcome
