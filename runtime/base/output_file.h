// OutputFile: results on their way to a path that the user named.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/files.h"
#include "runtime/base/unique_fd.h"

namespace marlin {

// "-", /dev/stdout, /dev/stderr and /dev/fd/N are descriptors of this process, and a device, a FIFO
// or a socket is what it is: these are written as the bytes come. Everything else is a plain file,
// whole or not at all, of mode 0644; a symbolic link stays one, and the file behind it is written.
class OutputFile {
 public:
  // Opens what is written through, and makes no file yet. Throws Error{io}, as all of it does, with
  // the path and the reason.
  explicit OutputFile(std::string path);

  void write(std::string_view bytes);
  void commit();

 private:
  std::string path_;
  UniqueFd opened_;  // a device or the like
  int through_ = -1;
  std::optional<PendingFile> pending_;
};

// Whether results for this path would go to stdout, where nothing else may be printed then.
bool goes_to_stdout(std::string_view path);

}  // namespace marlin
