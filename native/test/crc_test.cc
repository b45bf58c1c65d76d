// Every kernel that this CPU has against a bit-by-bit reference that shares nothing with them.
#include <random>
#include <vector>

#include "../src/crc.h"
#include "check.h"

using namespace primed;

namespace {

// `polynomial` as the standard writes it, highest power first: each bit of the message enters at the top.
template <typename Word>
Word reference(Word polynomial, const uint8_t* bytes, size_t length) {
  constexpr int width = 8 * sizeof(Word);
  Word state = ~Word(0);
  for (size_t i = 0; i < length; i++) {
    for (int bit = 0; bit < 8; bit++) {
      const bool in = ((bytes[i] >> bit) & 1) != 0;
      const bool out = (state >> (width - 1)) != 0;
      state = Word(state << 1) ^ (in != out ? polynomial : 0);
    }
  }
  Word reflected = 0;
  for (int bit = 0; bit < width; bit++) reflected |= Word((state >> bit) & 1) << (width - 1 - bit);
  return Word(~reflected);
}

template <class P>
void testKernels(const CrcKernel<P>* kernels, size_t count, typename P::Word polynomial, typename P::Word check) {
  using Word = typename P::Word;
  std::mt19937 random(20261123);
  const auto* digits = reinterpret_cast<const uint8_t*>("123456789");
  CHECK(reference<Word>(polynomial, digits, 9) == check);
  for (size_t i = 0; i < count; i++) {
    if (!kernels[i].supported()) continue;
    const auto crc = [&](Word seed, const uint8_t* bytes, size_t length) {
      return Word(~kernels[i].update(Word(~seed), bytes, length));
    };
    CHECK(crc(0, digits, 9) == check);
    for (size_t length = 0; length < 2200; length += length < 300 ? 1 : 61) {
      // A block of its own for each length: the sanitizer sees a read beyond either end.
      std::vector<uint8_t> bytes(length);
      for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
      const Word whole = reference<Word>(polynomial, bytes.data(), length);
      CHECK(crc(0, bytes.data(), length) == whole);
      const size_t cut = length == 0 ? 0 : random() % (length + 1);
      const Word first = crc(0, bytes.data(), cut);
      CHECK(crc(first, bytes.data() + cut, length - cut) == whole);
      CHECK(P::combine(first, crc(0, bytes.data() + cut, length - cut), length - cut) == whole);
    }
    printf("  kernel %s\n", kernels[i].name);
  }
}

}  // namespace

void testCrc() {
  size_t count;
  const auto* narrow = crc32cKernels(&count);
  testKernels<Crc32cPoly>(narrow, count, 0x1EDC6F41u, 0xE3069283u);
  const auto* wide = crc64NvmeKernels(&count);
  testKernels<Crc64NvmePoly>(wide, count, 0xAD93D23594C93659u, 0xAE8B14860A799888u);
}
