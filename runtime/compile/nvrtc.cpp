// CUDA text -> PTX, cubin and log, by an NVRTC opened at run time.
// Entry points: nvrtc_compile, Nvrtc::compile.
#include "runtime/compile/nvrtc.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <link.h>
#include <nvrtc.h>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <memory>

#include "codegen/base/error.h"
#include "codegen/problem/target.h"
#include "runtime/compile/nvrtc_find.h"

namespace marlin {

#define MARLIN_NVRTC_FUNCTIONS(X) \
  X(nvrtcVersion)                 \
  X(nvrtcGetErrorString)          \
  X(nvrtcGetNumSupportedArchs)    \
  X(nvrtcGetSupportedArchs)       \
  X(nvrtcCreateProgram)           \
  X(nvrtcDestroyProgram)          \
  X(nvrtcCompileProgram)          \
  X(nvrtcGetPTXSize)              \
  X(nvrtcGetPTX)                  \
  X(nvrtcGetCUBINSize)            \
  X(nvrtcGetCUBIN)                \
  X(nvrtcGetProgramLogSize)       \
  X(nvrtcGetProgramLog)

struct Nvrtc::Functions {
// NOLINTNEXTLINE(bugprone-macro-parentheses): a name that is declared takes none.
#define MARLIN_DECLARE(name) decltype(&::name) name = nullptr;
  MARLIN_NVRTC_FUNCTIONS(MARLIN_DECLARE)
#undef MARLIN_DECLARE
};

namespace {

// The file behind an opened library, links followed.
std::string path_behind(void* handle, const std::string& fallback) {
  link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || map->l_name[0] == '\0') return fallback;
  char* resolved = ::realpath(map->l_name, nullptr);
  if (resolved == nullptr) return map->l_name;
  std::string path = resolved;
  std::free(resolved);
  return path;
}

// A program of the library F, destroyed with this object.
template <typename F>
class Program {
 public:
  Program(const F& functions, const CompileRequest& request) : functions_(functions) {
    result_ = functions_.nvrtcCreateProgram(&program_, request.source.c_str(), request.name.c_str(),
                                            0, nullptr, nullptr);
  }
  ~Program() {
    if (program_ != nullptr) functions_.nvrtcDestroyProgram(&program_);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  nvrtcResult compile(const std::vector<std::string>& options) {
    if (result_ != NVRTC_SUCCESS) return result_;
    std::vector<const char*> texts;
    texts.reserve(options.size());
    for (const std::string& option : options) texts.push_back(option.c_str());
    return functions_.nvrtcCompileProgram(program_, static_cast<int>(texts.size()), texts.data());
  }

  // One of the program's results, empty when there is none.
  template <typename Size, typename Get>
  std::string read(Size size_of, Get get) const {
    std::size_t size = 0;
    if (program_ == nullptr || size_of(program_, &size) != NVRTC_SUCCESS) return {};
    std::string bytes(size, '\0');
    if (size == 0 || get(program_, bytes.data()) != NVRTC_SUCCESS) return {};
    return bytes;
  }

  // Text results count their final NUL.
  template <typename Size, typename Get>
  std::string read_text(Size size_of, Get get) const {
    std::string text = read(size_of, get);
    text.resize(text.find_last_not_of('\0') + 1);
    return text;
  }

 private:
  const F& functions_;
  nvrtcProgram program_ = nullptr;
  nvrtcResult result_;
};

// "sm_90a" -> 90
int compute_capability(const std::string& arch) {
  const std::size_t digit = arch.find_first_of("0123456789");
  return digit == std::string::npos ? 0 : std::atoi(arch.c_str() + digit);
}

template <typename F>
bool supports(const F& functions, const std::string& arch) {
  int count = 0;
  if (functions.nvrtcGetNumSupportedArchs(&count) != NVRTC_SUCCESS || count <= 0) return false;
  std::vector<int> archs(static_cast<std::size_t>(count));
  if (functions.nvrtcGetSupportedArchs(archs.data()) != NVRTC_SUCCESS) return false;
  for (const int known : archs) {
    if (known == compute_capability(arch)) return true;
  }
  return false;
}

std::string needed_for(const std::string& arch) {
  for (const ArchLimits& known : known_archs()) {
    if (known.name == arch) {
      return fmt::format(": {} or newer is needed", version_text(known.least_nvrtc));
    }
  }
  return {};
}

}  // namespace

Nvrtc::Nvrtc(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw Error(ErrorCode::no_nvrtc, fmt::format("NVRTC cannot be opened: {}", dlerror()));
  }
  path_ = path_behind(handle, library);
  const auto functions = std::make_shared<Functions>();
#define MARLIN_RESOLVE(name)                                                               \
  functions->name = reinterpret_cast<decltype(functions->name)>(dlsym(handle, #name));     \
  if (functions->name == nullptr) {                                                        \
    throw Error(ErrorCode::no_nvrtc,                                                       \
                fmt::format("{} has no {}: NVRTC 12.0 or newer is needed", path_, #name)); \
  }
  MARLIN_NVRTC_FUNCTIONS(MARLIN_RESOLVE)
#undef MARLIN_RESOLVE
  const nvrtcResult result = functions->nvrtcVersion(&major_, &minor_);
  if (result != NVRTC_SUCCESS) {
    throw Error(ErrorCode::no_nvrtc,
                fmt::format("{}: nvrtcVersion: {}", path_, functions->nvrtcGetErrorString(result)));
  }
  if (major_ < 12) {
    throw Error(ErrorCode::no_nvrtc,
                fmt::format("{} is NVRTC {}: 12.0 or newer is needed", path_, version()));
  }
  identity_ = fmt::format("{} {}", version(), build_of(path_));
  functions_ = functions;
}

std::string Nvrtc::version() const { return fmt::format("{}.{}", major_, minor_); }

CompileOutput Nvrtc::compile(const CompileRequest& request) const {
  if (!supports(*functions_, request.arch)) {
    throw Error(ErrorCode::no_nvrtc, fmt::format("NVRTC {} ({}) does not know {}{}", version(),
                                                 path_, request.arch, needed_for(request.arch)));
  }
  std::vector<std::string> options = {"--gpu-architecture=" + request.arch};
  options.insert(options.end(), request.options.begin(), request.options.end());
  if (major_ > 12 || minor_ >= 9) options.push_back("--no-cache");

  const auto begin = std::chrono::steady_clock::now();
  Program program(*functions_, request);
  const nvrtcResult result = program.compile(options);
  CompileOutput output;
  output.log =
      program.read_text(functions_->nvrtcGetProgramLogSize, functions_->nvrtcGetProgramLog);
  // A failure has been seen to report success with an empty cubin.
  if (result == NVRTC_SUCCESS) {
    output.cubin = program.read(functions_->nvrtcGetCUBINSize, functions_->nvrtcGetCUBIN);
  }
  output.milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  if (output.cubin.empty()) {
    const char* why = result == NVRTC_SUCCESS ? "it reports success but gives no cubin"
                                              : functions_->nvrtcGetErrorString(result);
    throw Error(ErrorCode::compile_failed, fmt::format("NVRTC {} could not compile {} for {}: {}",
                                                       version(), request.name, request.arch, why))
        .with_log(output.log)
        .with_options(fmt::format("{}", fmt::join(options, "\n")));
  }
  output.ptx = program.read_text(functions_->nvrtcGetPTXSize, functions_->nvrtcGetPTX);
  return output;
}

namespace {

Nvrtc open_first() {
  std::string refusals;
  for (const std::string& candidate : nvrtc_candidates()) {
    try {
      return Nvrtc(candidate);
    } catch (const Error& error) {
      refusals += fmt::format("\n  {}", error.what());
    }
  }
  throw Error(ErrorCode::no_nvrtc,
              "no usable NVRTC (12.0 or newer; 12.8 for sm_100 and sm_120): install the CUDA "
              "Toolkit's NVRTC or name its libnvrtc.so in MARLIN_NVRTC. Tried:" +
                  refusals);
}

}  // namespace

const Nvrtc& nvrtc() {
  static const Nvrtc library = open_first();
  return library;
}

CompileOutput nvrtc_compile(const CompileRequest& request) { return nvrtc().compile(request); }

std::string nvrtc_identity() { return nvrtc().identity(); }

int version_number(std::string_view text) {
  int major = 0, minor = 0;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, major);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return 0;
  const auto second = std::from_chars(first.ptr + 1, end, minor);
  const bool plausible = major >= 0 && major < 1000 && minor >= 0 && minor < 100;
  return second.ec == std::errc() && second.ptr == end && plausible ? 1000 * major + 10 * minor : 0;
}

std::string version_text(int number) {
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

std::vector<std::string> kernel_compile_options() {
  return {"--std=c++17", "--device-as-default-execution-space", "--ptxas-options=-v"};
}

}  // namespace marlin
