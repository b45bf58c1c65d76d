// CRC-32C (Castagnoli): which kernels there are.
#include "crc.h"
#include "crc_fold_x86.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace primed {
namespace {

#if defined(__x86_64__)
bool hasInstruction() { return __builtin_cpu_supports("sse4.2"); }

__attribute__((target("sse4.2"))) uint32_t updateByInstruction(uint32_t state, const uint8_t* bytes, size_t length) {
  uint64_t wide = state;
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  uint32_t narrow = static_cast<uint32_t>(wide);
  for (; length != 0; bytes++, length--) narrow = _mm_crc32_u8(narrow, *bytes);
  return narrow;
}
#elif defined(__aarch64__)
bool hasInstruction() { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }

#if defined(__clang__)
__attribute__((target("crc")))
#else
__attribute__((target("+crc")))
#endif
uint32_t updateByInstruction(uint32_t state, const uint8_t* bytes, size_t length) {
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    state = __crc32cd(state, word);
  }
  for (; length != 0; bytes++, length--) state = __crc32cb(state, *bytes);
  return state;
}
#endif

constexpr CrcKernel<Crc32cPoly> kernels[] = {
#if defined(__x86_64__)
    {"vpclmulqdq-512", has512, updateBy512<Crc32cPoly, updateByInstruction>},
    {"vpclmulqdq-256", has256, updateBy256<Crc32cPoly, updateByInstruction>},
    {"pclmulqdq-128", has128, updateBy128<Crc32cPoly, updateByInstruction>},
    {"crc32-instruction", hasInstruction, updateByInstruction},
#elif defined(__aarch64__)
    {"crc32-instruction", hasInstruction, updateByInstruction},
#endif
    {"table", alwaysSupported, updateByTable<Crc32cPoly>},
};

}  // namespace

const CrcKernel<Crc32cPoly>* crc32cKernels(size_t* count) {
  *count = sizeof(kernels) / sizeof(kernels[0]);
  return kernels;
}

const CrcKernel<Crc32cPoly>& crc32cKernel() {
  static const CrcKernel<Crc32cPoly>& chosen = firstSupported(kernels);
  return chosen;
}

}  // namespace primed
