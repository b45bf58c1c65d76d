// Folding kernels for x86-64, generic over the polynomial, for registers of 128, 256 and 512 bits.
//
//   message   |  a0  |  a1  |  a2  |  a3  |  next 4 registers ...
//                 \______________________/
//             each a[i] = a[i].low * x^(D+63) + a[i].high * x^(D-1) + next[i]        D = bits of 4 registers
//
// (x^-1 in the exponents: a carry-less product of reflected operands comes out multiplied by x.)
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>

#include "crc_poly.h"

// always_inline helpers with the same target: GCC does not let lambdas inherit one.
#define PRIMED_TARGET_128 "sse4.2,pclmul"
#define PRIMED_TARGET_256 "avx2,vpclmulqdq,sse4.2,pclmul"
#define PRIMED_TARGET_512 "avx512f,avx512vl,avx512dq,vpclmulqdq,sse4.2,pclmul"
#define PRIMED_INLINE(target_string) __attribute__((always_inline, target(target_string))) static inline

namespace primed {

inline bool has128() { return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"); }
inline bool has256() { return has128() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq"); }
inline bool has512() {
  return has256() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq");
}

// The two multipliers that carry a 128-bit lane over `bits` of message.
template <class P, uint64_t bits>
PRIMED_INLINE(PRIMED_TARGET_128) __m128i foldBy() {
  constexpr uint64_t low = P::operand(bits + 63);
  constexpr uint64_t high = P::operand(bits - 1);
  return _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
}

PRIMED_INLINE(PRIMED_TARGET_128) __m128i load128(const uint8_t* bytes) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}
PRIMED_INLINE(PRIMED_TARGET_128) __m128i fold128(__m128i a, __m128i k, __m128i next) {
  return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(a, k, 0x00), _mm_clmulepi64_si128(a, k, 0x11)), next);
}
PRIMED_INLINE(PRIMED_TARGET_256) __m256i load256(const uint8_t* bytes) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
}
PRIMED_INLINE(PRIMED_TARGET_256) __m256i fold256(__m256i a, __m256i k, __m256i next) {
  return _mm256_xor_si256(
      _mm256_xor_si256(_mm256_clmulepi64_epi128(a, k, 0x00), _mm256_clmulepi64_epi128(a, k, 0x11)), next);
}
PRIMED_INLINE(PRIMED_TARGET_512) __m512i load512(const uint8_t* bytes) { return _mm512_loadu_si512(bytes); }
PRIMED_INLINE(PRIMED_TARGET_512) __m512i fold512(__m512i a, __m512i k, __m512i next) {
  // 0x96: three-way xor
  return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(a, k, 0x00), _mm512_clmulepi64_epi128(a, k, 0x11), next,
                                   0x96);
}

// The last register, and the bytes after it, by a function that takes any length.
template <class P, typename P::Word (*finish)(typename P::Word, const uint8_t*, size_t)>
PRIMED_INLINE(PRIMED_TARGET_128)
typename P::Word finishFold(__m128i a, const uint8_t* bytes, size_t length) {
  const __m128i k = foldBy<P, 128>();
  for (; length >= 16; bytes += 16, length -= 16) a = fold128(a, k, load128(bytes));
  alignas(16) uint8_t last[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(last), a);
  // A state of 0 adds nothing: the register holds a message with the same remainder as all that went into it.
  return finish(finish(0, last, 16), bytes, length);
}

template <class P, typename P::Word (*finish)(typename P::Word, const uint8_t*, size_t)>
__attribute__((target(PRIMED_TARGET_128)))
typename P::Word updateBy128(typename P::Word state, const uint8_t* bytes, size_t length) {
  if (length < 128) return finish(state, bytes, length);
  __m128i a0 = _mm_xor_si128(load128(bytes), _mm_set_epi64x(0, static_cast<long long>(state)));
  __m128i a1 = load128(bytes + 16), a2 = load128(bytes + 32), a3 = load128(bytes + 48);
  __m128i a4 = load128(bytes + 64), a5 = load128(bytes + 80), a6 = load128(bytes + 96), a7 = load128(bytes + 112);
  const __m128i k = foldBy<P, 1024>();
  for (bytes += 128, length -= 128; length >= 128; bytes += 128, length -= 128) {
    a0 = fold128(a0, k, load128(bytes));
    a1 = fold128(a1, k, load128(bytes + 16));
    a2 = fold128(a2, k, load128(bytes + 32));
    a3 = fold128(a3, k, load128(bytes + 48));
    a4 = fold128(a4, k, load128(bytes + 64));
    a5 = fold128(a5, k, load128(bytes + 80));
    a6 = fold128(a6, k, load128(bytes + 96));
    a7 = fold128(a7, k, load128(bytes + 112));
  }
  const __m128i one = foldBy<P, 128>();
  a1 = fold128(a0, one, a1);
  a2 = fold128(a1, one, a2);
  a3 = fold128(a2, one, a3);
  a4 = fold128(a3, one, a4);
  a5 = fold128(a4, one, a5);
  a6 = fold128(a5, one, a6);
  a7 = fold128(a6, one, a7);
  return finishFold<P, finish>(a7, bytes, length);
}

template <class P, typename P::Word (*finish)(typename P::Word, const uint8_t*, size_t)>
__attribute__((target(PRIMED_TARGET_256)))
typename P::Word updateBy256(typename P::Word state, const uint8_t* bytes, size_t length) {
  if (length < 256) return updateBy128<P, finish>(state, bytes, length);
  __m256i a0 = _mm256_xor_si256(load256(bytes), _mm256_set_epi64x(0, 0, 0, static_cast<long long>(state)));
  __m256i a1 = load256(bytes + 32), a2 = load256(bytes + 64), a3 = load256(bytes + 96);
  __m256i a4 = load256(bytes + 128), a5 = load256(bytes + 160), a6 = load256(bytes + 192), a7 = load256(bytes + 224);
  const __m256i k = _mm256_broadcastsi128_si256((foldBy<P, 2048>()));
  for (bytes += 256, length -= 256; length >= 256; bytes += 256, length -= 256) {
    a0 = fold256(a0, k, load256(bytes));
    a1 = fold256(a1, k, load256(bytes + 32));
    a2 = fold256(a2, k, load256(bytes + 64));
    a3 = fold256(a3, k, load256(bytes + 96));
    a4 = fold256(a4, k, load256(bytes + 128));
    a5 = fold256(a5, k, load256(bytes + 160));
    a6 = fold256(a6, k, load256(bytes + 192));
    a7 = fold256(a7, k, load256(bytes + 224));
  }
  const __m256i one = _mm256_broadcastsi128_si256((foldBy<P, 256>()));
  a1 = fold256(a0, one, a1);
  a2 = fold256(a1, one, a2);
  a3 = fold256(a2, one, a3);
  a4 = fold256(a3, one, a4);
  a5 = fold256(a4, one, a5);
  a6 = fold256(a5, one, a6);
  a7 = fold256(a6, one, a7);
  const __m128i a = fold128(_mm256_castsi256_si128(a7), (foldBy<P, 128>()), _mm256_extracti128_si256(a7, 1));
  return finishFold<P, finish>(a, bytes, length);
}

template <class P, typename P::Word (*finish)(typename P::Word, const uint8_t*, size_t)>
__attribute__((target(PRIMED_TARGET_512)))
typename P::Word updateBy512(typename P::Word state, const uint8_t* bytes, size_t length) {
  if (length < 512) return updateBy128<P, finish>(state, bytes, length);
  __m512i a0 = _mm512_xor_si512(load512(bytes), _mm512_zextsi128_si512(_mm_set_epi64x(0, static_cast<long long>(state))));
  __m512i a1 = load512(bytes + 64), a2 = load512(bytes + 128), a3 = load512(bytes + 192);
  __m512i a4 = load512(bytes + 256), a5 = load512(bytes + 320), a6 = load512(bytes + 384), a7 = load512(bytes + 448);
  const __m512i k = _mm512_broadcast_i32x4((foldBy<P, 4096>()));
  for (bytes += 512, length -= 512; length >= 512; bytes += 512, length -= 512) {
    a0 = fold512(a0, k, load512(bytes));
    a1 = fold512(a1, k, load512(bytes + 64));
    a2 = fold512(a2, k, load512(bytes + 128));
    a3 = fold512(a3, k, load512(bytes + 192));
    a4 = fold512(a4, k, load512(bytes + 256));
    a5 = fold512(a5, k, load512(bytes + 320));
    a6 = fold512(a6, k, load512(bytes + 384));
    a7 = fold512(a7, k, load512(bytes + 448));
  }
  const __m512i one = _mm512_broadcast_i32x4((foldBy<P, 512>()));
  a1 = fold512(a0, one, a1);
  a2 = fold512(a1, one, a2);
  a3 = fold512(a2, one, a3);
  a4 = fold512(a3, one, a4);
  a5 = fold512(a4, one, a5);
  a6 = fold512(a5, one, a6);
  a7 = fold512(a6, one, a7);
  const __m128i lane = foldBy<P, 128>();
  __m128i a = fold128(_mm512_castsi512_si128(a7), lane, _mm512_extracti64x2_epi64(a7, 1));
  a = fold128(a, lane, _mm512_extracti64x2_epi64(a7, 2));
  a = fold128(a, lane, _mm512_extracti64x2_epi64(a7, 3));
  return finishFold<P, finish>(a, bytes, length);
}

}  // namespace primed
#endif
