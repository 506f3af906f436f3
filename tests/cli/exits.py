"""exits.py <code> <command>...: runs the command and fails unless it exits with this code.

With a code followed by "/silent", its stdout must be empty, too.
"""

import subprocess
import sys

expected, _, silent = sys.argv[1].partition("/")
result = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE if silent else None)
if result.returncode != int(expected):
    sys.exit(f"exit code {result.returncode}, not {expected}: {sys.argv[2:]}")
if silent and result.stdout:
    sys.exit(f"stdout is not empty: {result.stdout[:400]!r}")
