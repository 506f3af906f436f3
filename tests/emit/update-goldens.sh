#!/usr/bin/env bash
# Rewrites tests/emit/golden/*.cu from what the program emits now; read the diff before committing.
#   update-goldens.sh [path of marlin]            (default: build-dev/tuner/marlin)
#   update-goldens.sh --check <path of marlin>    compares only; fails on a difference
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

check=false
if [[ ${1:-} == --check ]]; then
  check=true
  shift
fi
marlin=${1:-$here/../../build-dev/tuner/marlin}
emitted=$(mktemp)
trap 'rm -f "$emitted"' EXIT

golden() { # <file> <arguments of marlin emit>
  local file=$here/golden/$1
  "$marlin" emit "${@:2}" > "$emitted"
  if $check; then diff -u "$file" "$emitted"; else cat "$emitted" > "$file"; fi
}

# The configs are given, so that only a change of the emitter changes the text.
golden sm_80_m1_split.cu --shape 1x4096x4096 --group 128 --arch sm_80 --sms 108 \
  --config 'm8 n64 w1x8 k128 s2 accumulators split1 b1'
golden sm_87_m16_stripes.cu --shape 16x6144x4096 --group -1 --arch sm_87 --sms 16 \
  --config 'm16 n256 w4x2 k32 s4 accumulators stripes16 b1'
golden sm_90a_m8_cluster.cu --shape 8x4096x4096 --group 128 --arch sm_90a --sms 132 \
  --config 'decode m8 n64 w1x4 k64 s4 accumulators cluster2 b1 early'
golden sm_90a_m64_wgmma.cu --shape 64x4096x4096 --group 128 --arch sm_90a --sms 132 \
  --config 'wgmma m64 n128 w8x1 k64 s4 weights split1 b1 burst2'
