// Arithmetic in GF(2)[x] modulo the polynomial of a reflected CRC, at compile time where it can be.
//
// A remainder of degree < W is a Word whose bit W-1-i is the coefficient of x^i: the usual "reflected" order, in which
// the first bit of the message is the highest power. All constants of the kernels are powers of x computed here, so
// that no magic number has to be believed. Method: Gopal et al., "Fast CRC Computation for Generic Polynomials Using
// PCLMULQDQ Instruction", Intel 2009.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace primed {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the kernels load words in little-endian order");

template <typename WordType, WordType polynomialReflected>
struct Poly {
  using Word = WordType;
  static constexpr int width = 8 * sizeof(Word);
  static constexpr Word one = Word(1) << (width - 1);

  static constexpr Word timesX(Word a) { return (a & 1) != 0 ? Word((a >> 1) ^ polynomialReflected) : Word(a >> 1); }

  static constexpr Word multiply(Word a, Word b) {
    Word product = 0;
    for (int bit = width - 1; bit >= 0; bit--) {
      if (((a >> bit) & 1) != 0) product ^= b;
      b = timesX(b);
    }
    return product;
  }

  static constexpr Word powerOfX(uint64_t exponent) {
    Word result = one;
    Word square = timesX(one);
    for (; exponent != 0; exponent >>= 1) {
      if ((exponent & 1) != 0) result = multiply(result, square);
      square = multiply(square, square);
    }
    return result;
  }

  // x^exponent as the 64-bit operand of a carry-less multiplication: a narrower remainder sits in the high bits.
  static constexpr uint64_t operand(uint64_t exponent) { return uint64_t(powerOfX(exponent)) << (64 - width); }

  // The CRC of A followed by B, from crc(A), crc(B) and the length of B.
  static Word combine(Word crcA, Word crcB, uint64_t lengthBytesB) {
    return multiply(powerOfX(8 * lengthBytesB), crcA) ^ crcB;
  }
};

using Crc32cPoly = Poly<uint32_t, 0x82F63B78u>;             // Castagnoli, RFC 3720 B.4
using Crc32Poly = Poly<uint32_t, 0xEDB88320u>;              // IEEE 802.3, as zlib has it: combined here, computed by Node
using Crc64NvmePoly = Poly<uint64_t, 0x9A6C9329AC4BC9B5u>;  // 0xAD93D23594C93659 reflected, NVM Express 1.0c 5.2.1.3.4

// Slicing by 8: table[k][b] is byte b followed by k zero bytes.
template <class P>
struct SlicingTable {
  typename P::Word at[8][256];
  constexpr SlicingTable() : at() {
    for (int byte = 0; byte < 256; byte++) {
      typename P::Word state = typename P::Word(byte);
      for (int bit = 0; bit < 8; bit++) state = P::timesX(state);
      at[0][byte] = state;
    }
    for (int slice = 1; slice < 8; slice++) {
      for (int byte = 0; byte < 256; byte++) {
        const typename P::Word before = at[slice - 1][byte];
        at[slice][byte] = typename P::Word((sizeof(before) > 1 ? before >> 8 : 0) ^ at[0][before & 0xFF]);
      }
    }
  }
};

template <class P>
inline constexpr SlicingTable<P> slicingTable{};

// `state` is the raw register, without the final inversion, here and in all kernels.
template <class P>
typename P::Word updateByTable(typename P::Word state, const uint8_t* bytes, size_t length) {
  const auto& table = slicingTable<P>.at;
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    word ^= state;
    state = table[7][word & 0xFF] ^ table[6][(word >> 8) & 0xFF] ^ table[5][(word >> 16) & 0xFF] ^
            table[4][(word >> 24) & 0xFF] ^ table[3][(word >> 32) & 0xFF] ^ table[2][(word >> 40) & 0xFF] ^
            table[1][(word >> 48) & 0xFF] ^ table[0][word >> 56];
  }
  for (; length != 0; bytes++, length--) state = table[0][(state ^ *bytes) & 0xFF] ^ (state >> 8);
  return state;
}

}  // namespace primed
