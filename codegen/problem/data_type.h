// DataType: the types that matrices have in memory.
#pragma once

#include <string_view>

namespace marlin {

enum class DataType { f16 };  // IEEE 754 binary16

struct DataTypeInfo {
  std::string_view name;  // as schemes and tuning records call it
  int bytes;
};

const DataTypeInfo& info(DataType type);

}  // namespace marlin
