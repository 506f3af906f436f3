// One thread's copies of activation rows, which the families with cp.async share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "codegen/emit/text.h"
#include "codegen/plan/plan.h"

namespace marlin {

// One thread's copies of the activation rows of a stage or a unit, between these places: a
// condition,
// "" or "if (...) ", and two addresses.
struct ActivationCopy {
  std::string guard, to, from;
};
struct TokenCopies {
  const Plan& plan;
  const ActivationCopies& copies;
  const ActivationRows& rows;

  std::vector<ActivationCopy> all(std::string_view to, std::string_view from) const;
  // The same as asynchronous copies.
  void emit(Text& text, std::string_view to, std::string_view from) const;

 private:
  std::string guard(int pass) const;
};

// Those of a family's own plan.
template <class Own>
TokenCopies activation_copies(const Plan& plan, const Own& own) {
  return {plan, own.copies, own.activations};
}

}  // namespace marlin
