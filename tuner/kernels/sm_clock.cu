// Readings of every SM's clock and of the GPU's time, from two of which follow the clocks an SM had
// in between.

// out[SM]: {its clock, nanoseconds}. Enough blocks that every SM has some; any of its readings will
// do.
extern "C" __global__ void read_sm_clocks(ulonglong2* out) {
  unsigned sm;
  ulonglong2 reading;
  asm volatile("mov.u32 %0, %%smid;" : "=r"(sm));
  asm volatile("mov.u64 %0, %%clock64;" : "=l"(reading.x));
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(reading.y));
  if (threadIdx.x == 0) out[sm] = reading;
}
