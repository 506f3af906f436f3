// Plan + pointers + rows -> the array of arguments of a launch. Entry point: KernelParams.
#include "runtime/launch/kernel_params.h"

#include "runtime/driver/driver.h"

namespace marlin {

KernelParams::KernelParams(const Plan& plan, const LaunchArgs& args, std::int64_t rows)
    : args_(args), m_(static_cast<int>(rows)) {
  std::size_t count = 0;
  for (const TensorBox& box : plan.launch.tensor_maps) {
    encode(maps_.at(count), box);
    params_.at(count) = &maps_.at(count);
    ++count;
  }
  const bool plain = count == 0;
  if (plain) {
    params_.at(count++) = &args_.a;
    params_.at(count++) = &args_.b;
  }
  params_.at(count++) = &args_.scales;
  if (plain) params_.at(count++) = &args_.c;
  params_.at(count++) = &args_.workspace;
  params_.at(count++) = &m_;
}

void KernelParams::encode(CUtensorMap& map, const TensorBox& box) {
  const void* pointers[] = {args_.a, args_.b, args_.c};
  void* base = const_cast<void*>(pointers[static_cast<std::size_t>(box.of)]);
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(box.columns),
                              static_cast<cuuint64_t>(box.rows > 0 ? box.rows : m_)};
  const cuuint64_t pitch[] = {static_cast<cuuint64_t>(box.row_bytes)};
  const cuuint32_t box_sizes[] = {static_cast<cuuint32_t>(box.box_columns),
                                  static_cast<cuuint32_t>(box.box_rows)};
  const cuuint32_t steps[] = {1, 1};
  check(driver().cuTensorMapEncodeTiled(
            &map,
            box.element == 8 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT64 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2,
            base, sizes, pitch, box_sizes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
            box.swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
            box.of == TensorBox::Of::output ? CU_TENSOR_MAP_L2_PROMOTION_NONE
                                            : CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "cuTensorMapEncodeTiled");
}

}  // namespace marlin
