// SIGINT and SIGTERM as a flag that long work asks.
#pragma once

namespace marlin {

// For verbs with long work: from here on the first SIGINT or SIGTERM only sets interrupted(), a
// second one ends the process. A verb that stops early for it sets Exit::interrupted.
void catch_interrupts();
bool interrupted();

}  // namespace marlin
