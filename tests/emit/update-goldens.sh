#!/usr/bin/env bash
# Rewrites tests/emit/golden/*.cu from what the program emits now; read the diff before committing.
#   update-goldens.sh [path of marlin]            (default: build-dev/tuner/marlin)
#   update-goldens.sh --check <path of marlin>    compares only; fails on a difference
set -euo pipefail
cd "$(dirname "$0")/golden"

check=false
if [[ ${1:-} == --check ]]; then
  check=true
  shift
fi
marlin=${1:-../../../build-dev/tuner/marlin}

golden() { # <file> <arguments of marlin emit>
  local file=$1
  shift
  if $check; then
    diff -u "$file" <("$marlin" emit "$@")
  else
    "$marlin" emit "$@" > "$file.new"
    mv "$file.new" "$file"
  fi
}

golden sm_80_m1_group128.cu --shape 1x4096x4096 --group 128 --arch sm_80 --sms 108
golden sm_90a_m64_one_group.cu --shape 64x6144x4096 --group -1 --arch sm_90a --sms 132
