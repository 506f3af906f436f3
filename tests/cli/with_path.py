"""with_path.py <folder> <command>...: runs the command with the folder first on PATH."""

import os
import sys

os.environ["PATH"] = os.pathsep.join([sys.argv[1], os.environ["PATH"]])
os.execvp(sys.argv[2], sys.argv[2:])
