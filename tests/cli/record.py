"""record.py [field=value]...: prints one line of a tuning database, its checksum right.

Without arguments a choice for 16x4096x4096 on an H200. kind=failure and kind=timing leave out the
fields that they do not have. chained=yes is one of chained launches.
"""

import hashlib
import json
import sys

CONFIG = {
    "family": "stripe",
    "tile_m": 8,
    "tile_n": 256,
    "warps_n": 4,
    "warps_k": 2,
    "warp_k": 64,
    "stages": 4,
    "scale_on": "accumulators",
    "partition": "split",
    "count": 1,
    "blocks_per_sm": 1,
}
FIELDS = {
    "v": 1,
    "kind": "choice",
    "gpu": "NVIDIA H200",
    "arch": "sm_90a",
    "sms": 132,
    "m": 16,
    "n": 4096,
    "k": 4096,
    "group": 128,
    "exact_m": False,
    "chained": False,
    "a": "f16",
    "b": "i4",
    "c": "f16",
    "config": CONFIG,
    "schema": 1,
    "searched": "stripe/1,decode/1,wgmma/1",
    "protocol": "race/1",
    "us": 6.25,
    "min_us": 6.125,
    "max_us": 7.0,
    "model_us": 6.5,
    "reason": "no reason",
    "nvrtc": "13.0",
    "driver": 13000,
}
TIMES = ("us", "min_us", "max_us", "model_us")
ABSENT = {
    "choice": ("reason",),
    "timing": ("reason", "searched", "model_us"),
    "failure": ("searched", *TIMES),
}

for argument in sys.argv[1:]:
    name, value = argument.split("=", 1)
    fields = CONFIG if name in CONFIG else FIELDS
    fields[name] = type(fields[name])(value)

parts = []
for name, value in FIELDS.items():
    if name in ABSENT[FIELDS["kind"]] or (name == "chained" and not value):
        continue
    text = f"{value:.3f}" if name in TIMES else json.dumps(value, separators=(",", ":"))
    parts.append(f'"{name}":{text}')
body = "{" + ",".join(parts)
print(f'{body},"sum":"{hashlib.sha256(body.encode()).hexdigest()[:16]}"}}')
