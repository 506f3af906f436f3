"""interrupt.py <cache folder> <command>...: sends SIGINT once the folder holds its first entry.

Prints the command's exit code after its stdout.
"""

import pathlib
import signal
import subprocess
import sys
import time

process = subprocess.Popen(sys.argv[2:])
while process.poll() is None and not list(pathlib.Path(sys.argv[1]).glob("v1/*/*.mcb")):
    time.sleep(0.005)
process.send_signal(signal.SIGINT)
print("exit code", process.wait())
