#!/usr/bin/env bash
# Rules about the source tree that no compiler checks. Prints every offence and exits 1 if any.
#   check.sh [root of the repository]
set -uo pipefail
cd "${1:-$(dirname "$0")/../..}" || exit 2

failed=0
offence() { # <rule> <offending lines>
  [[ -z $2 ]] && return
  printf '%s\n%s\n\n' "$1" "$2"
  failed=1
}

files() { # tracked files, or all outside build folders where this is no git checkout
  git ls-files -z "$@" 2>/dev/null ||
    find . -path './build*' -prune -o -path ./.git -prune -o -type f -print0
}
search() { files | xargs -0 grep -nIs "$@" /dev/null; }

includes() { # <folder> <folders it may not include>
  grep -rnE "#include *[<\"]($2)/" --include='*.h' --include='*.cpp' --include='*.cu' \
    --include='*.cuh' "$1"
}
rule='Layers: templates <- codegen <- runtime <- tuner, and tests on top. Against it:'
offence "$rule" "$(includes templates 'codegen|runtime|marlin|tuner|tests')"
offence "$rule" "$(includes codegen 'runtime|marlin|tuner|tests')"
offence "$rule" "$(includes runtime 'tuner|tests')"
offence "$rule" "$(includes tuner 'tests')"
offence 'Public headers include only public headers and what is installed beside them:' \
  "$(grep -nE '#include "' runtime/include/marlin/*.h |
    grep -vE '"(marlin/[a-z_]+|codegen/(error|shape|target))\.h"')"
offence 'codegen/ is pure: no CUDA headers, environment, or file access:' \
  "$(grep -rnE '#include <(cuda|nvrtc|fstream|filesystem|unistd|fcntl)|getenv *\(' codegen)"

offence "Paths of one machine:" "$(search -E '(^|[^A-Za-z0-9_.}])/(home|root|Users|work)/[A-Za-z]{2}')"
offence "This checkout's own path:" "$(search -F "$PWD/")"
offence 'Markers of unfinished work:' "$(search -E '\b(TO''DO|FIX''ME|XX''X|HA''CK)\b')"
offence 'Files over 600 lines (split them):' \
  "$(files | xargs -0 wc -l | awk '$1 > 600 && $2 ~ /\.(cpp|h|cu|cuh)$/')"
offence 'Sources whose opening comment does not name their entry points:' \
  "$(for f in codegen/*.cpp runtime/*.cpp tuner/*.cpp; do
    [[ -e $f ]] || continue
    sed '/^\/\//!q' "$f" | grep -q 'Entry point' || echo "$f"
  done)"

exit $failed
