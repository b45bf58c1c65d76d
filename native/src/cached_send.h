// Sends what is cached of files to sockets, as much as the socket takes at once: by the caller's thread, which never waits.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "page_cache.h"

namespace primed {

struct StoredExtent {
  int fd;
  uint64_t offset;
  uint32_t length;
};

struct StoredPage {
  PageKey key;
  uint32_t lengthBytes;
  uint32_t pairBytes;  // what the file has in the frame of the page
  uint32_t checksum;   // CRC32C
  std::vector<StoredExtent> extents;
};

struct SendOrder {
  uint64_t token;
  // -1: nothing is sent; the job ends when its first page is in the cache, and reads of the others have begun.
  int socket;
  std::vector<StoredPage> pages;
  uint32_t skipBytes;  // of the first page
  uint64_t lengthBytes;
  std::string head = {};  // goes before them
  bool copied = false;    // no page is lent to the socket
};

// Whether the other end has not taken yet what was sent before.
bool owes(int socket);
// The head of an order, and as much of the range as is cached and the socket takes without waiting; at most `mostBytes` of it.
// Bytes of both together, or -errno when the socket is broken.
int64_t trySend(PageCache& cache, const SendOrder& order, uint64_t mostBytes);
// Copies a range whose pages are all cached. False: some are not, and nothing is to be read of `target`.
bool tryCopy(PageCache& cache, const std::vector<StoredPage>& pages, uint32_t skipBytes, uint64_t lengthBytes,
             uint8_t* target);

// Bytes of a page that is held; those that the kernel took, 0 for none now, or -errno. `copied`: it is not lent to the socket.
int64_t sendSome(PageCache& cache, int socket, uint32_t slot, uint32_t from, uint32_t length, bool copied);
// The same of bytes, and of others behind them. `more`: what follows is worth waiting for.
int64_t sendBytes(int socket, const std::string& head, const uint8_t* body, size_t bodyBytes, bool more);

}  // namespace primed
