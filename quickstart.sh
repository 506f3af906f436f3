#!/usr/bin/env bash
# From a fresh Debian 12 or Ubuntu 24.04 machine with the CUDA Toolkit to a working marlin.
#   ./quickstart.sh         installs what is missing, builds, and runs the main job
#   ./quickstart.sh test    the same set-up, then every test
#   ./quickstart.sh setup   the set-up alone: packages and a configured build folder
# MARLIN_PRESET names the CMake preset to build (default: release), CUDA_HOME a toolkit that is
# neither at /usr/local/cuda nor on the PATH.
set -euo pipefail
cd "$(dirname "$0")"

preset=${MARLIN_PRESET:-release}
build=build-$preset
marlin=$build/tuner/marlin
# So that ccache gives one build folder what another has compiled, the tests' own among them.
export CCACHE_NOHASHDIR=1

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 3; }
show() { printf '$ %s\n' "$*" >&2; "$@"; }

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  else
    command -v sudo > /dev/null || fail "These packages need root or sudo: ${missing[*]}"
    sudo "$@"
  fi
}

install_packages() {
  local needed=(cmake g++ ninja-build ccache python3 python3-pip clang-format clang-tidy libfmt-dev
    nlohmann-json3-dev libcli11-dev libssl-dev libgtest-dev libgmock-dev)
  missing=()
  if ! command -v dpkg-query > /dev/null; then
    echo "No dpkg here; the build needs what these Debian packages hold: ${needed[*]}, LLVM's tools"
    return
  fi
  for package in "${needed[@]}"; do
    installed "$package" || missing+=("$package")
  done
  compgen -G '/usr/lib/llvm-*/bin/FileCheck' > /dev/null || missing+=(llvm)
  [[ ${#missing[@]} == 0 ]] && return
  say "Installing ${missing[*]}"
  as_root apt-get update -qq
  # FileCheck and lit come with the tools of the distribution's own LLVM version.
  missing=("${missing[@]/#llvm/$(llvm_tools_package)}")
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}"
}

installed() {
  [[ $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2> /dev/null) == ii* ]]
}

llvm_tools_package() {
  apt-cache depends llvm | sed -nE 's/^ *Depends: (llvm-[0-9]+)$/\1-tools/p' | head -n 1
}

find_cuda() {
  local nvcc
  nvcc=$(command -v nvcc || true)
  for home in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda "${nvcc%/bin/nvcc}"; do
    if [[ -n $home && -e $home/include/cuda.h ]]; then
      export CUDA_HOME=$home
      return
    fi
  done
  # Distribution packages spread the toolkit over /usr; CMake knows where to look.
  [[ -e /usr/include/cuda.h ]] || fail "No CUDA Toolkit: install it (12.8 or newer knows sm_100 and sm_120)" \
    "or set CUDA_HOME to the folder that holds include/cuda.h."
}

setup() {
  install_packages
  find_cuda
  say "Configuring ($preset)"
  cmake --preset "$preset" > /dev/null
}

build() {
  say "Building"
  cmake --build "$build" -j "$(nproc)"
}

main_job_on_the_gpu() {
  local layer=(--shape 28672x4096 --group 128 --m 1,16,64)
  say "One layer of Llama-3 8B: pack, compile, launch, compare with an FP64 reference"
  show "$marlin" verify "${layer[@]}"
  say "The same layer against cuBLAS FP16 and the time the memory alone needs"
  show "$marlin" bench "${layer[@]}"
}

main_job_without_a_gpu() {
  local cache=$build/quickstart-cache
  local shape=(--shape 16x28672x4096 --group 128) h200=(--arch sm_90a --sms 132)
  local four=(--arch sm_80,sm_89,sm_90a,sm_120 --sms 108,128,132,170)
  echo "No GPU here: kernels are emitted and compiled, not launched."

  say "The CUDA source of one kernel"
  show "$marlin" emit "${shape[@]}" "${h200[@]}" > "$build/kernel.cu"
  sed '/^$/q' "$build/kernel.cu"
  sed -n '/^extern "C"/,/^}/p' "$build/kernel.cu" | sed -n '1,24p'
  echo "... all $(wc -l < "$build/kernel.cu") lines are in $build/kernel.cu"

  say "Compiled for four architectures, into a cache folder"
  rm -rf "$cache"
  show "$marlin" prebuild "${shape[@]}" "${four[@]}" -j 2 --out "$cache"

  say "What the kernel takes of each machine"
  show "$marlin" inspect "${shape[@]}" "${h200[@]}" --emit resources

  say "The cache"
  show "$marlin" cache ls --dir "$cache"

  say "Once more: everything comes from the cache"
  show "$marlin" prebuild "${shape[@]}" "${four[@]}" -j 2 --out "$cache"
  show "$marlin" cache verify --dir "$cache"
}

main_job() {
  if nvidia-smi -L > /dev/null 2>&1; then main_job_on_the_gpu; else main_job_without_a_gpu; fi
  say "Done. The program is $marlin; try $marlin --help"
}

case ${1:-} in
  "")
    setup
    build
    main_job
    ;;
  setup) setup ;;
  test)
    setup
    build
    say "Testing"
    ctest --test-dir "$build" --output-on-failure -j "$(nproc)"
    ;;
  *)
    sed -n '3,7s/^# *//p' "$0" >&2
    exit 2
    ;;
esac
