// Epilogue: what happens to a sum before it is stored.
#pragma once

namespace marlin {

enum class Epilogue { identity };  // stored as it is

}  // namespace marlin
