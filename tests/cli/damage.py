"""damage.py <cache folder> <text> [--remove]: spoils one entry that holds the text, or removes it.

Prints "damaged <path relative to the folder>".
"""

import pathlib
import sys

folder, text = pathlib.Path(sys.argv[1]), sys.argv[2].encode()
entries = sorted(folder.glob("v1/*/*.mcb"))
entry = next(entry for entry in entries if text in entry.read_bytes())
if sys.argv[3:] == ["--remove"]:
    entry.unlink()
else:
    data = bytearray(entry.read_bytes())
    data[-100] ^= 16
    entry.write_bytes(data)
print("damaged", entry.relative_to(folder))
