// DataType -> its name and size. Entry point: info.
#include "codegen/problem/data_type.h"

namespace marlin {

const DataTypeInfo& info(DataType type) {
  static constexpr DataTypeInfo kTypes[] = {{"f16", 2}};  // in the order of the enumerators
  return kTypes[static_cast<int>(type)];
}

}  // namespace marlin
