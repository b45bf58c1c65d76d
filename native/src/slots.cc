#include "slots.h"

#include <sys/mman.h>

namespace primed {

namespace {
constexpr uintptr_t pageBytes = 4096;
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif
}  // namespace

void prefault(uint8_t* address, size_t length) {
  // Whole pages inside the range only: what shares a page with others is not ours to advise on.
  const auto begin = (reinterpret_cast<uintptr_t>(address) + pageBytes - 1) & ~(pageBytes - 1);
  const auto end = (reinterpret_cast<uintptr_t>(address) + length) & ~(pageBytes - 1);
  if (begin >= end) return;
  auto* pages = reinterpret_cast<uint8_t*>(begin);
  madvise(pages, end - begin, MADV_HUGEPAGE);
  if (madvise(pages, end - begin, MADV_POPULATE_WRITE) == 0) return;
  for (uintptr_t at = begin; at < end; at += pageBytes) {
    auto* byte = reinterpret_cast<volatile uint8_t*>(at);
    *byte = *byte;
  }
}

}  // namespace primed
