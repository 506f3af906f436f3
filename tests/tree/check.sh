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

# Who may include whom: a room, then the rooms it may include beside itself. Templates are text.
rooms='
templates
codegen/base
codegen/problem           codegen/base
codegen/formats           codegen/base codegen/problem
codegen/plan              codegen/base codegen/problem codegen/formats
codegen/cost              codegen/problem
codegen/emit              codegen/base codegen/problem codegen/formats codegen/plan templates
codegen/families          codegen/plan codegen/cost codegen/families/stripe codegen/families/decode codegen/families/wgmma
codegen/families/stripe   codegen/base codegen/problem codegen/formats codegen/plan codegen/cost codegen/emit
codegen/families/decode   codegen/base codegen/problem codegen/formats codegen/plan codegen/cost codegen/emit
codegen/families/wgmma    codegen/base codegen/problem codegen/formats codegen/plan codegen/cost codegen/emit
codegen                   codegen/base codegen/problem codegen/plan codegen/cost codegen/families
runtime/include/marlin    codegen/base codegen/problem
runtime/base              codegen/base
runtime/driver            codegen/base codegen/problem runtime/base
runtime/cache             codegen/base runtime/base
runtime/choose            codegen codegen/base codegen/problem codegen/plan templates runtime/include/marlin runtime/base runtime/cache
runtime/compile           codegen codegen/base codegen/problem codegen/plan runtime/include/marlin runtime/base runtime/driver runtime/cache runtime/choose
runtime/pack              codegen codegen/base codegen/problem codegen/formats codegen/emit runtime/include/marlin runtime/base runtime/driver runtime/cache runtime/choose runtime/compile
runtime/launch            codegen codegen/base codegen/problem codegen/plan runtime/include/marlin runtime/base runtime/driver runtime/choose runtime/compile
runtime/api               codegen/base runtime/include/marlin runtime/launch
tuner/measure             codegen codegen/base codegen/problem templates runtime/include/marlin runtime/driver runtime/compile
tuner/check               codegen codegen/base codegen/problem codegen/plan runtime/include/marlin tuner/measure
tuner/report              codegen/base codegen/problem tuner/measure
tuner/include/marlin      codegen/base codegen/problem runtime/include/marlin
tuner/search              codegen codegen/base codegen/problem codegen/plan codegen/cost runtime/include/marlin runtime/base runtime/cache runtime/choose runtime/compile tuner/measure tuner/check tuner/report
tuner/api                 codegen/base codegen/problem codegen/plan runtime/include/marlin runtime/driver runtime/choose runtime/compile runtime/launch tuner/include/marlin tuner/measure tuner/search
tuner/cli                 codegen codegen/base codegen/problem codegen/plan codegen/cost runtime/include/marlin runtime/base runtime/driver runtime/cache runtime/choose runtime/compile tuner/measure tuner/check tuner/report tuner/search
'
included() { # "file:line: room room" for every include of the project outside tests
  files | tr '\0' '\n' | grep -E '^(\./)?(templates|codegen|runtime|tuner)/.*\.(h|cpp|cu|cuh)$' | xargs grep -nE \
    '#include *"(templates|codegen|runtime|tuner|tests|marlin)/' | sed -E \
    's,"marlin/tune\.h","tuner/include/marlin/tune.h",
    s,^(\./)?([^:]*)/([^/:]*):([0-9]+):#include *"(.*)/[^/]*".*,\2/\3:\4 \2 \5,; s, marlin$, runtime/include/marlin,'
}
offence 'Rooms include what stands below them (the table in tests/tree/check.sh). Against it:' \
  "$(included | awk -v rooms="$rooms" '
    BEGIN {
      lines = split(rooms, line, "\n")
      for (i = 1; i <= lines; ++i) {
        words = split(line[i], word, " ")
        if (words > 0) known[word[1]] = 1
        for (j = 1; j <= words; ++j) may[word[1], word[j]] = 1
      }
    }
    !known[$2] { print $1 ": " $2 " is no room of the table"; next }
    !may[$2, $3] { print $1 ": " $2 " includes " $3 }')"

names() { # <folder> <folders that its CMake files may not name>
  find "$1" -name CMakeLists.txt -o -path "$1*" -name '*.cmake' | xargs grep -nE "(^|[^a-z_])($2)/"
}
rule='CMake files name no folder that stands above theirs:'
offence "$rule" "$(names templates 'runtime|tuner|tests')"
offence "$rule" "$(names codegen 'runtime|tuner|tests')"
offence "$rule" "$(names runtime 'tuner|tests')"
offence "$rule" "$(names tuner 'tests')"

offence 'Public headers include only public headers and what is installed beside them:' \
  "$(grep -nE '#include "' {runtime,tuner}/include/marlin/*.h |
    grep -vE '"(marlin/[a-z_]+|codegen/base/error|codegen/problem/[a-z_]+)\.h"')"
offence 'Headers that are installed beside the public ones include one another by bare names:' \
  "$(grep -nE '#include "[^"]*/' codegen/problem/*.h codegen/base/error.h)"
offence 'codegen/ is pure: no CUDA headers, environment, or file access:' \
  "$(grep -rnE '#include <(cuda|nvrtc|fstream|filesystem|unistd|fcntl)|getenv *\(' codegen)"

offence "Paths of one machine:" "$(search -E '(^|[^A-Za-z0-9_.}])/(home|root|Users|work)/[A-Za-z]{2}')"
offence "This checkout's own path:" "$(search -F "$PWD/")"
offence 'Markers of unfinished work:' "$(search -E '\b(TO''DO|FIX''ME|XX''X|HA''CK)\b')"
offence 'Files over 600 lines (split them):' \
  "$(files | xargs -0 wc -l | awk '$1 > 600 && $2 ~ /\.(cpp|h|cu|cuh)$/ && $2 !~ /\/golden\//')"
offence 'Sources whose opening comment does not name their entry points:' \
  "$(for f in $(find codegen runtime tuner -name '*.cpp'); do
    [[ -e $f ]] || continue
    sed '/^\/\//!q' "$f" | grep -q 'Entry point' || echo "$f"
  done)"

exit $failed
