"""terminal.py <command>...: runs the command with a terminal as its stderr, and prints what is
written there, with control characters escaped."""

import os
import pty
import subprocess
import sys

ours, theirs = pty.openpty()
process = subprocess.Popen(sys.argv[1:], stderr=theirs, stdout=subprocess.DEVNULL)
os.close(theirs)
text = b""
try:
    while chunk := os.read(ours, 4096):
        text += chunk
except OSError:  # how Linux reports that the other end is closed
    pass
print(text.decode().encode("unicode_escape").decode())
sys.exit(process.wait())
