# Writes OUT, the device text IN with each asm statement as a call of the interpreter that
# tests/simulator/ptx.h declares: asm("add %0, %1;" : "=r"(x) : "r"(y)) becomes
# run_ptx("add %0, %1;", operand("=r", x), operand("r", y)). All else stays as it is.
file(READ ${IN} text)
set(ns marlin::simulator)
string(REGEX REPLACE "asm( volatile)?\\(" "${ns}::run_ptx(" text "${text}")
string(REGEX REPLACE "\"([=+]?[a-z])\"\\(" "${ns}::operand(\"\\1\", " text "${text}")
string(REGEX REPLACE "[ \n]*: *${ns}::operand" ", ${ns}::operand" text "${text}")
if(text MATCHES "asm")
  message(FATAL_ERROR "${IN}: an asm statement that is not understood")
endif()
file(WRITE ${OUT} "${text}")
