// What must hold for any bytes that a parser is given which others may have written: a value that
// keeps its promises, or our own error. Each function throws std::logic_error for what does not
// hold.
#pragma once

#include <string_view>

namespace marlin::test {

void check_tuning_input(std::string_view input);   // a tuning database
void check_entry_input(std::string_view input);    // an entry of a cubin cache
void check_archive_input(std::string_view input);  // an archive of such entries
void check_index_input(std::string_view input);    // manifest, index and memo of a cache folder
void check_shapes_input(std::string_view input);   // a file of shapes, as --shapes names it
void check_text_input(std::string_view input);     // a config, a scheme, an architecture, a size
void check_elf_input(std::string_view input);      // a cubin, and a library with a build id

}  // namespace marlin::test
