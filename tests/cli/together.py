"""together.py <code> <NAME=VALUE>... -- <command>...: runs the command once for each setting, which it
finds in its environment, all at the same time, and prints their stdouts in this order. Fails unless
each exits with this code.
"""

import os
import subprocess
import sys

code = int(sys.argv[1])
end = sys.argv.index("--")
processes = []
for setting in sys.argv[2:end]:
    name, value = setting.split("=", 1)
    processes.append(
        subprocess.Popen(
            sys.argv[end + 1 :], env={**os.environ, name: value}, stdout=subprocess.PIPE, text=True
        )
    )
for process in processes:
    output, _ = process.communicate()
    sys.stdout.write(output)
    if process.returncode != code:
        sys.exit(f"{process.args}: exit code {process.returncode} and not {code}")
