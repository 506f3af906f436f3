// GPU packing, unpacking and quantising: bit-equal to the CPU's.
#include "marlin/pack.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "runtime/driver/driver.h"
#include "runtime/pack/half.h"
#include "tests/reference/model.h"
#include "tuner/measure/gpu.h"

namespace marlin {
namespace {

class GpuPack : public testing::Test {
 protected:
  void SetUp() override {
    if (!gpu_available()) GTEST_SKIP() << "no GPU";
    gpu_.emplace();
    stream_.emplace();
    status_.emplace(sizeof(std::uint32_t));
    set_status(0);
  }

  // Device memory with these contents.
  template <typename T>
  DeviceBuffer upload(const std::vector<T>& values) const {
    DeviceBuffer buffer(values.size() * sizeof(T));
    write(buffer, values);
    return buffer;
  }

  // The copy may return before its last bytes have landed, and the tests' stream waits for no
  // other.
  template <typename T>
  void write(const DeviceBuffer& buffer, const std::vector<T>& values) const {
    check(driver().cuMemcpyHtoD(buffer.address(), values.data(), buffer.bytes()), "cuMemcpyHtoD");
    check(driver().cuCtxSynchronize(), "cuCtxSynchronize");
  }

  // Device memory that every value written must replace.
  DeviceBuffer poisoned(std::size_t bytes) const {
    return upload(std::vector<std::uint8_t>(bytes, 0xcd));
  }

  template <typename T>
  std::vector<T> download(const DeviceBuffer& buffer) const {
    stream_->finish();
    std::vector<T> values(buffer.bytes() / sizeof(T));
    check(driver().cuMemcpyDtoH(values.data(), buffer.address(), buffer.bytes()), "cuMemcpyDtoH");
    return values;
  }

  void set_status(std::uint32_t value) const { write(*status_, std::vector<std::uint32_t>{value}); }
  std::uint32_t* status_word() const { return static_cast<std::uint32_t*>(status_->pointer()); }
  std::uint32_t status() const { return download<std::uint32_t>(*status_)[0]; }

  CUstream stream() const { return stream_->handle(); }
  const Stream& stream_handle() const { return *stream_; }

 private:
  std::optional<Gpu> gpu_;
  std::optional<Stream> stream_;
  std::optional<DeviceBuffer> status_;
};

std::vector<Problem> shapes() {
  return {{.shape = {.n = 64, .k = 64}, .scheme = {.group = -1}},
          {.shape = {.n = 64, .k = 128}, .scheme = {.group = 128}},
          {.shape = {.n = 192, .k = 256}, .scheme = {.group = 128}},
          {.shape = {.n = 320, .k = 192}, .scheme = {.group = -1}},
          {.shape = {.n = 192, .k = 192}, .scheme = {.group = 64}},
          {.shape = {.n = 128, .k = 320}, .scheme = {.group = 32}},
          {.shape = {.n = 4096, .k = 2048}, .scheme = {.group = 128}},
          {.shape = {.n = 6144, .k = 1088}, .scheme = {.group = -1}}};
}

TEST_F(GpuPack, PacksAsTheCpuDoesAndUnpacks) {
  unsigned seed = 40;
  for (const Problem& problem : shapes()) {
    const auto w =
        reference::random_weights(problem.shape.k, problem.shape.n, problem.scheme.group, ++seed);
    const PackedWeights expected = pack_codes(problem, w.codes, w.scales);
    const DeviceBuffer codes = upload(w.codes), scales = upload(w.scales);
    const DeviceBuffer packed = poisoned(packed_bytes(problem));
    const DeviceBuffer packed_scales = poisoned(scales_bytes(problem));
    pack_codes_gpu(stream(), problem, codes.pointer(), scales.pointer(), packed.pointer(),
                   packed_scales.pointer(), status_word());
    ASSERT_EQ(download<std::uint32_t>(packed), expected.packed) << to_string(problem);
    ASSERT_EQ(download<std::uint16_t>(packed_scales), expected.packed_scales) << to_string(problem);
    ASSERT_EQ(status(), 0u) << to_string(problem);

    const DeviceBuffer back = poisoned(codes.bytes()), scales_back = poisoned(scales.bytes());
    unpack_codes_gpu(stream(), problem, packed.pointer(), packed_scales.pointer(), back.pointer(),
                     scales_back.pointer());
    ASSERT_EQ(download<std::uint8_t>(back), w.codes) << to_string(problem);
    ASSERT_EQ(download<std::uint16_t>(scales_back), w.scales) << to_string(problem);
  }
}

TEST_F(GpuPack, QuantisesAsTheCpuDoes) {
  unsigned seed = 70;
  for (const Problem& problem : shapes()) {
    auto matrix = reference::random_halves(problem.shape.k * problem.shape.n, ++seed);
    // Every finite FP16 value, denormals and the largest ones among them, as far as there is room.
    for (std::size_t i = 0; i < matrix.size() / 2 && i <= 0xffff; ++i) {
      const auto bits = static_cast<std::uint16_t>(i * 40503);  // odd, so that all values are met
      if (half_is_finite(bits)) matrix[i] = bits;
    }
    std::vector<std::uint8_t> codes(matrix.size());
    std::vector<std::uint16_t> scales(scales_bytes(problem) / 2);
    quantize_rtn(problem, matrix, codes, scales);
    const DeviceBuffer weights = upload(matrix);
    const DeviceBuffer gpu_codes = poisoned(codes.size()), gpu_scales = poisoned(scales.size() * 2);
    quantize_rtn_gpu(stream(), problem, weights.pointer(), gpu_codes.pointer(),
                     gpu_scales.pointer(), status_word());
    ASSERT_EQ(download<std::uint16_t>(gpu_scales), scales) << to_string(problem);
    ASSERT_EQ(download<std::uint8_t>(gpu_codes), codes) << to_string(problem);
    ASSERT_EQ(status(), 0u) << to_string(problem);
  }
}

// Denormal scales, a scale that rounds to zero, and groups of nothing but zeros.
TEST_F(GpuPack, QuantisesTinyWeightsAsTheCpuDoes) {
  const Problem problem{.shape = {.n = 512, .k = 128}, .scheme = {.group = 128}};
  std::vector<std::uint16_t> matrix(problem.shape.k * problem.shape.n, 0);
  for (std::int64_t i = 0; i < problem.shape.k * problem.shape.n; ++i) {
    const auto limit = static_cast<std::uint32_t>(i % problem.shape.n);
    matrix[i] = static_cast<std::uint16_t>(i * 2654435761u % (limit + 1) | (i % 3 ? 0 : 0x8000));
  }
  std::vector<std::uint8_t> codes(matrix.size());
  std::vector<std::uint16_t> scales(problem.shape.n);
  quantize_rtn(problem, matrix, codes, scales);
  const DeviceBuffer weights = upload(matrix);
  const DeviceBuffer gpu_codes = poisoned(codes.size()), gpu_scales = poisoned(scales.size() * 2);
  quantize_rtn_gpu(stream(), problem, weights.pointer(), gpu_codes.pointer(), gpu_scales.pointer());
  EXPECT_EQ(download<std::uint16_t>(gpu_scales), scales);
  EXPECT_EQ(download<std::uint8_t>(gpu_codes), codes);
}

TEST_F(GpuPack, QuantisesTheLargestWeightsAsTheCpuDoes) {
  const Problem problem{.shape = {.n = 64, .k = 128}, .scheme = {.group = 128}};
  std::vector<std::uint16_t> matrix(problem.shape.k * problem.shape.n);
  for (std::size_t i = 0; i < matrix.size(); ++i) {  // columns around where the scale is 8188
    matrix[i] = static_cast<std::uint16_t>((0x7bff - 4 * (i % 64)) | (i % 3 == 0 ? 0x8000 : 0));
  }
  std::vector<std::uint8_t> codes(matrix.size());
  std::vector<std::uint16_t> scales(problem.shape.n);
  quantize_rtn(problem, matrix, codes, scales);
  const DeviceBuffer weights = upload(matrix);
  const DeviceBuffer gpu_codes = poisoned(codes.size()), gpu_scales = poisoned(scales.size() * 2);
  quantize_rtn_gpu(stream(), problem, weights.pointer(), gpu_codes.pointer(), gpu_scales.pointer());
  EXPECT_EQ(download<std::uint16_t>(gpu_scales), scales);
  EXPECT_EQ(download<std::uint8_t>(gpu_codes), codes);
}

TEST_F(GpuPack, StatusNamesWhatTheCpuWouldRefuse) {
  const Problem problem{.shape = {.n = 128, .k = 256}, .scheme = {.group = 128}};
  auto w = reference::random_weights(256, 128, 128, 90);
  const DeviceBuffer packed = poisoned(packed_bytes(problem));
  const DeviceBuffer packed_scales = poisoned(scales_bytes(problem));
  const auto status_of = [&](const reference::Weights& weights) {
    const DeviceBuffer codes = upload(weights.codes), scales = upload(weights.scales);
    set_status(0);
    pack_codes_gpu(stream(), problem, codes.pointer(), scales.pointer(), packed.pointer(),
                   packed_scales.pointer(), status_word());
    return status();
  };
  EXPECT_EQ(status_of(w), 0u);
  auto bad_code = w;
  bad_code.codes[255 * 128 + 127] = 16;
  EXPECT_EQ(status_of(bad_code), kStatusBadCode);
  auto bad_scale = w;
  bad_scale.scales[128 + 77] = 0xfe00;
  EXPECT_EQ(status_of(bad_scale), kStatusNotFinite);
  bad_scale.scales[128 + 77] = 0x7000;  // 8192
  EXPECT_EQ(status_of(bad_scale), kStatusBadScale);
  bad_scale.scales[128 + 77] = 0xefff;  // -8188
  EXPECT_EQ(status_of(bad_scale), 0u);
  bad_scale.scales[128 + 77] = 0xfe00;
  bad_scale.codes[0] = 255;
  EXPECT_EQ(status_of(bad_scale), kStatusBadCode | kStatusNotFinite);

  std::vector<std::uint16_t> matrix(w.codes.size(), 0x3c00);
  matrix[100 * 128 + 3] = 0x7c00;
  const DeviceBuffer weights = upload(matrix);
  const DeviceBuffer codes = poisoned(matrix.size()), scales = poisoned(scales_bytes(problem));
  set_status(0);
  quantize_rtn_gpu(stream(), problem, weights.pointer(), codes.pointer(), scales.pointer(),
                   status_word());
  EXPECT_EQ(status(), kStatusNotFinite);
}

TEST_F(GpuPack, CanBeCapturedAndReplayed) {
  const Problem problem{.shape = {.n = 256, .k = 512}, .scheme = {.group = 128}};
  const auto first = reference::random_halves(problem.shape.k * problem.shape.n, 1);
  const auto second = reference::random_halves(problem.shape.k * problem.shape.n, 2);
  const DeviceBuffer weights = upload(first), codes = poisoned(first.size());
  const DeviceBuffer scales = poisoned(scales_bytes(problem));
  const DeviceBuffer packed = poisoned(packed_bytes(problem));
  const DeviceBuffer packed_scales = poisoned(scales_bytes(problem));
  const auto enqueue = [&] {
    quantize_rtn_gpu(stream(), problem, weights.pointer(), codes.pointer(), scales.pointer());
    pack_codes_gpu(stream(), problem, codes.pointer(), scales.pointer(), packed.pointer(),
                   packed_scales.pointer());
  };
  enqueue();
  ASSERT_EQ(download<std::uint32_t>(packed), pack_rtn(problem, first).packed);
  const Graph graph(stream_handle(), enqueue);
  write(weights, second);
  graph.launch(stream_handle());
  const PackedWeights expected = pack_rtn(problem, second);
  EXPECT_EQ(download<std::uint32_t>(packed), expected.packed);
  EXPECT_EQ(download<std::uint16_t>(packed_scales), expected.packed_scales);
}

TEST_F(GpuPack, RefusesOddSizesAndMisalignedPointers) {
  const Problem problem{.shape = {.n = 64, .k = 128}, .scheme = {.group = 128}};
  const DeviceBuffer memory = poisoned(1 << 16);
  void* good = memory.pointer();
  void* odd = memory.pointer(8);
  EXPECT_THROW(pack_codes_gpu(stream(), {.shape = {.n = 65, .k = 128}, .scheme = {.group = 128}},
                              good, good, good, good),
               Error);
  EXPECT_THROW(quantize_rtn_gpu(stream(), problem, good, odd, good), Error);
  EXPECT_THROW(unpack_codes_gpu(stream(), problem, good, good, good, nullptr), Error);
  EXPECT_EQ(download<std::uint8_t>(memory), std::vector<std::uint8_t>(1 << 16, 0xcd));
}

}  // namespace
}  // namespace marlin
