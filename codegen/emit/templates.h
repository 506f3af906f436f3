// Templates: the CUDA text of the folder templates/, embedded in the library, by name.
#pragma once

#include <string_view>
#include <vector>

namespace marlin {

// The exact bytes of templates/<name>, e.g. "kernels/stripe.cu"; they live as long as the
// program. Throws std::logic_error on an unknown name.
std::string_view template_text(std::string_view name);

// The name of every embedded file, in ascending order.
std::vector<std::string_view> template_names();

}  // namespace marlin
