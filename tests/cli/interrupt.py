"""interrupt.py <command>...: sends SIGINT once the command's progress says that one item is done.

Prints the command's exit code after its stdout.
"""

import os
import pty
import signal
import subprocess
import sys

ours, theirs = pty.openpty()
process = subprocess.Popen(sys.argv[1:], stderr=theirs)
os.close(theirs)
text = b""
sent = False
try:
    while chunk := os.read(ours, 4096):
        text += chunk
        if not sent and b" 1/" in text:
            process.send_signal(signal.SIGINT)
            sent = True
except OSError:  # how Linux reports that the other end is closed
    pass
print("exit code", process.wait())
