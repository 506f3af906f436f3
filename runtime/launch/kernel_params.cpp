// Plan + pointers + rows -> the array of arguments of a launch. Entry point: KernelParams.
#include "runtime/launch/kernel_params.h"

#include "runtime/driver/driver.h"

namespace marlin {
namespace {

const void* pointer_of(const LaunchArgs& args, Operand operand) {
  switch (operand) {
    case Operand::a: return args.a;
    case Operand::b: return args.b;
    case Operand::scales: return args.scales;
    case Operand::c: return args.c;
    case Operand::workspace: return args.workspace;
  }
  return nullptr;
}

// The driver only counts bytes of packed weights: any type of eight will do.
CUtensorMapDataType type_of(TensorBox::Element element) {
  return element == TensorBox::Element::f16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                            : CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
}

}  // namespace

KernelParams::KernelParams(const Plan& plan, const LaunchArgs& args, std::int64_t rows)
    : args_(args), m_(static_cast<int>(rows)) {
  std::size_t count = 0, map = 0;
  for (const Parameter& parameter : plan.launch.parameters) {
    if (parameter.tensor_map) {
      encode(maps_.at(map), plan.launch.tensor_maps.at(map));
      params_.at(count++) = &maps_.at(map++);
    } else {
      pointers_.at(count) = pointer_of(args, parameter.operand);
      params_.at(count) = &pointers_.at(count);
      ++count;
    }
  }
  params_.at(count) = &m_;
}

void KernelParams::encode(CUtensorMap& map, const TensorBox& box) {
  void* base = const_cast<void*>(pointer_of(args_, box.of));
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(box.columns),
                              static_cast<cuuint64_t>(box.rows > 0 ? box.rows : m_)};
  const cuuint64_t pitch[] = {static_cast<cuuint64_t>(box.row_bytes)};
  const cuuint32_t box_sizes[] = {static_cast<cuuint32_t>(box.box_columns),
                                  static_cast<cuuint32_t>(box.box_rows)};
  const cuuint32_t steps[] = {1, 1};
  check(driver().cuTensorMapEncodeTiled(
            &map, type_of(box.element), 2, base, sizes, pitch, box_sizes, steps,
            CU_TENSOR_MAP_INTERLEAVE_NONE,
            box.swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
            box.of == Operand::c ? CU_TENSOR_MAP_L2_PROMOTION_NONE
                                 : CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "cuTensorMapEncodeTiled");
}

}  // namespace marlin
