// Anchors: published kernels' times on a known GPU, to hold our own beside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace marlin {

// One measured cell; microseconds.
struct AnchorRow {
  std::string layer;
  std::int64_t k = 0, n = 0, m = 0;
  double floor_us = 0;   // the read floor of that run, by which times are re-scaled
  double orig_us = 0;    // the published Marlin kernel
  double cublas_us = 0;  // 0 when the file has none
};

class Anchors {
 public:
  // JSON: {"gpu": text, "rows": [{"layer", "K", "N", "M", "floor_us", "orig_us", "cublas_us"},
  // ...]}; other fields are passed over. Throws Error{invalid_argument} naming the row and the
  // field that is missing or not a positive number.
  static Anchors parse(std::string_view json);
  // Throws Error{io} too.
  static Anchors load(const std::string& path);

  const AnchorRow* find(std::int64_t m, std::int64_t n, std::int64_t k) const;
  const std::string& gpu() const { return gpu_; }
  std::size_t size() const { return rows_.size(); }

 private:
  std::string gpu_;
  std::vector<AnchorRow> rows_;
};

}  // namespace marlin
