"""What a start must not wait for."""

import subprocess
import sys


def test_packages_for_arrays_are_not_loaded_before_somebody_asks():
    program = "import sys, interlock.entrypoints.http.api, interlock.entrypoints.console.app; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
