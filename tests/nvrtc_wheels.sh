#!/usr/bin/env bash
# nvrtc_wheels.sh DIR VERSION...: the NVRTC libraries of these versions, each unpacked under
# DIR/VERSION, once. Without pip or a package index it says so and leaves them out: tests skip them.
set -uo pipefail
dir=$1
shift
for version in "$@"; do
  [[ -d $dir/$version ]] && continue
  name=nvidia-cuda-nvrtc
  [[ $version == 12.* ]] && name+=-cu12
  new=$dir/$version.new
  rm -rf "$new"
  if python3 -m pip download --quiet --no-deps --disable-pip-version-check --timeout 10 --retries 1 --dest "$new" \
    "$name==$version" && (cd "$new" && python3 -m zipfile -e ./*.whl . && rm ./*.whl); then
    mv "$new" "$dir/$version"
  else
    rm -rf "$new"
    echo "NVRTC $version cannot be had here" >&2
  fi
done
exit 0
