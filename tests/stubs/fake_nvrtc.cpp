// An NVRTC that fails in the way FAKE_NVRTC_FAULT names.
// Entry points: those of nvrtc.h that the library opens.
#include <cstring>

#define FAULT_OLD 1      // its version is 11.8
#define FAULT_LACKS 2    // it has no nvrtcGetCUBIN
#define FAULT_EMPTY 3    // it reports success and gives no cubin
#define FAULT_REFUSES 4  // it refuses every source, with a log
#define FAULT_MUTE 5     // it cannot even create a program

namespace {
constexpr char kLog[] = "fake.cu(1): error: refused by a test";
int program;
}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
  *major = FAKE_NVRTC_FAULT == FAULT_OLD ? 11 : 12;
  *minor = FAKE_NVRTC_FAULT == FAULT_OLD ? 8 : 4;
  return 0;
}

const char* nvrtcGetErrorString(int result) {
  return result == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_INTERNAL_ERROR";
}

int nvrtcGetNumSupportedArchs(int* count) {
  *count = 2;
  return 0;
}

int nvrtcGetSupportedArchs(int* archs) {
  archs[0] = 80;
  archs[1] = 90;
  return 0;
}

int nvrtcCreateProgram(void** made, const char*, const char*, int, const char* const*,
                       const char* const*) {
  if (FAKE_NVRTC_FAULT == FAULT_MUTE) return 11;
  *made = &program;
  return 0;
}

int nvrtcDestroyProgram(void** made) {
  *made = nullptr;
  return 0;
}

int nvrtcCompileProgram(void*, int, const char* const*) {
  return FAKE_NVRTC_FAULT == FAULT_REFUSES ? 6 : 0;
}

int nvrtcGetPTXSize(void*, std::size_t* size) {
  *size = 1;
  return 0;
}

int nvrtcGetPTX(void*, char* ptx) {
  *ptx = '\0';
  return 0;
}

int nvrtcGetCUBINSize(void*, std::size_t* size) {
  *size = 0;
  return 0;
}

#if FAKE_NVRTC_FAULT != FAULT_LACKS
int nvrtcGetCUBIN(void*, char*) { return 0; }
#endif

int nvrtcGetProgramLogSize(void*, std::size_t* size) {
  *size = sizeof kLog;
  return 0;
}

int nvrtcGetProgramLog(void*, char* log) {
  std::memcpy(log, kLog, sizeof kLog);
  return 0;
}

}  // extern "C"
