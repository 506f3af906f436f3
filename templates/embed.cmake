# Writes OUT, a C++ file with the exact bytes of every file of NAMES (relative to ROOT) as the table
# TABLE and the number TABLE<Size> that HEADER declares; entries are as in table.h. Bytes are numbers
# in an array: string literals have a length limit.
set(arrays "")
set(entries "")
set(index 0)
foreach(name IN LISTS NAMES)
  file(READ ${ROOT}/${name} hex HEX)
  file(SIZE ${ROOT}/${name} size)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}00")
  string(APPEND arrays "const unsigned char k${index}[] = {${bytes}};\n")
  string(APPEND entries "    {\"${name}\", k${index}, ${size}},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUT} "#include \"${HEADER}\"

namespace marlin::embedded {
namespace {
${arrays}
}  // namespace

const Entry ${TABLE}[] = {
${entries}    {nullptr, nullptr, 0},
};
const std::size_t ${TABLE}Size = ${index};

}  // namespace marlin::embedded
")
