// CRC-32C and CRC-64/NVME over memory, by the best kernel that this CPU has.
//
// Both CRCs are folded by carry-less multiplication: registers of 16, 32 or 64 bytes, four at a time, each step
// carrying the register over the next 4 registers' worth of message. What is left at the end goes through the CRC
// instruction (CRC-32C) or a table (CRC-64).
#pragma once
#include <cstddef>
#include <cstdint>

#include "crc_poly.h"

namespace primed {

template <class P>
struct CrcKernel {
  using Word = typename P::Word;
  const char* name;
  bool (*supported)();
  // Raw state in, raw state out.
  Word (*update)(Word state, const uint8_t* bytes, size_t length);
};

// Best first; ends with the table, which every CPU supports. `count` is set to the number of rows.
const CrcKernel<Crc32cPoly>* crc32cKernels(size_t* count);
const CrcKernel<Crc64NvmePoly>* crc64NvmeKernels(size_t* count);

// The first supported row.
const CrcKernel<Crc32cPoly>& crc32cKernel();
const CrcKernel<Crc64NvmePoly>& crc64NvmeKernel();

// `seed` is the CRC of what came before, 0 at the start.
inline uint32_t crc32c(uint32_t seed, const uint8_t* bytes, size_t length) {
  return ~crc32cKernel().update(~seed, bytes, length);
}
inline uint64_t crc64Nvme(uint64_t seed, const uint8_t* bytes, size_t length) {
  return ~crc64NvmeKernel().update(~seed, bytes, length);
}

template <class P>
const CrcKernel<P>& firstSupported(const CrcKernel<P>* kernels) {
  while (!kernels->supported()) kernels++;
  return *kernels;
}

inline bool alwaysSupported() { return true; }

}  // namespace primed
