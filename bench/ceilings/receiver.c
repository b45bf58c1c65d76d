// The ceiling of a load: what one thread of C can move from an HTTP/1.1 origin to an SSD on this machine.
//
// It does what a load cannot do without, and nothing else: ranged GETs on keep-alive sockets (epoll), received straight
// into page-aligned memory, written from there with O_DIRECT by io_uring into a file whose space was allocated before,
// and one fdatasync at the end. No checksums, no index, no signatures, no retries: the first surprise ends it.
//
//   receiver --port N --mode drop|write [--host 127.0.0.1] [--file PATH] [--connections 16] [--part-bytes 8388608]
//
// Objects come on standard input, one a line: "<bytes> <request path>". Prints {"bytes","seconds","cpuSeconds"}.
// Needs libc and kernel headers only: io_uring is used through its system calls.
#define _GNU_SOURCE
#include "common.h"
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { headBytesMax = 8192, connectionsMax = 256, ringEntries = 512, alignBytes = 4096 };

struct part {
  const char *path;
  uint64_t offset;      // in the object
  uint64_t length;
  uint64_t fileOffset;  // where it lands, aligned
};

struct connection {
  int fd;
  int slot;             // -1: idle
  size_t part;
  uint64_t received;    // body bytes in the slot
  size_t headLength;
  int inBody;
  char head[headBytesMax];
};

static struct {
  const char *host, *file;
  int port, connections, write;
  uint64_t partBytes;
} options = {.host = "127.0.0.1", .connections = 16, .partBytes = 8u << 20};

static struct part *parts;
static size_t partCount, partNext, partsDone;
static struct connection connections[connectionsMax];
static uint8_t *slots;
static int *slotsFree;
static int slotCount, slotsFreeCount;
static uint64_t totalBytes, fileBytes;
static int epollFd, fileFd = -1;

static uint64_t alignUp(uint64_t bytes) { return (bytes + alignBytes - 1) & ~(uint64_t)(alignBytes - 1); }

// ---- io_uring, by its system calls ----

static struct {
  int fd, eventFd;
  unsigned *sqTail, *sqMask, *sqArray, *cqHead, *cqTail, *cqMask;
  struct io_uring_sqe *sqes;
  struct io_uring_cqe *cqes;
} ring;

static void openRing(void) {
  struct io_uring_params parameters = {.flags = IORING_SETUP_COOP_TASKRUN};
  ring.fd = (int)syscall(SYS_io_uring_setup, ringEntries, &parameters);
  if (ring.fd < 0 && errno == EINVAL) {  // kernels before 5.19 do not know the flag
    memset(&parameters, 0, sizeof parameters);
    ring.fd = (int)syscall(SYS_io_uring_setup, ringEntries, &parameters);
  }
  if (ring.fd < 0) fail("io_uring_setup: %s", strerror(errno));
  size_t sqBytes = parameters.sq_off.array + parameters.sq_entries * sizeof(unsigned);
  size_t cqBytes = parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe);
  int protection = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
  uint8_t *sq = mmap(NULL, sqBytes, protection, flags, ring.fd, IORING_OFF_SQ_RING);
  uint8_t *cq = mmap(NULL, cqBytes, protection, flags, ring.fd, IORING_OFF_CQ_RING);
  ring.sqes = mmap(NULL, parameters.sq_entries * sizeof(struct io_uring_sqe), protection, flags, ring.fd, IORING_OFF_SQES);
  if (sq == MAP_FAILED || cq == MAP_FAILED || ring.sqes == MAP_FAILED) fail("mapping the rings: %s", strerror(errno));
  ring.sqTail = (unsigned *)(sq + parameters.sq_off.tail);
  ring.sqMask = (unsigned *)(sq + parameters.sq_off.ring_mask);
  ring.sqArray = (unsigned *)(sq + parameters.sq_off.array);
  ring.cqHead = (unsigned *)(cq + parameters.cq_off.head);
  ring.cqTail = (unsigned *)(cq + parameters.cq_off.tail);
  ring.cqMask = (unsigned *)(cq + parameters.cq_off.ring_mask);
  ring.cqes = (struct io_uring_cqe *)(cq + parameters.cq_off.cqes);
  ring.eventFd = eventfd(0, EFD_NONBLOCK);
  if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_EVENTFD, &ring.eventFd, 1) < 0)
    fail("registering the eventfd: %s", strerror(errno));
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epollFd, EPOLL_CTL_ADD, ring.eventFd, &event);
}

/** Slots bound the writes in flight, and there are fewer slots than entries: the queue cannot be full. */
static void submitWrite(int slot, const struct part *part) {
  unsigned tail = *ring.sqTail, index = tail & *ring.sqMask;
  ring.sqes[index] = (struct io_uring_sqe){
      .opcode = IORING_OP_WRITE,
      .fd = fileFd,
      .addr = (uint64_t)(uintptr_t)(slots + (uint64_t)slot * options.partBytes),
      .len = (unsigned)alignUp(part->length),
      .off = part->fileOffset,
      .user_data = ((uint64_t)alignUp(part->length) << 16) | (unsigned)slot,
  };
  ring.sqArray[index] = index;
  __atomic_store_n(ring.sqTail, tail + 1, __ATOMIC_RELEASE);
  if (syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0) != 1) fail("io_uring_enter: %s", strerror(errno));
}

static void reapWrites(void) {
  uint64_t wakeups;
  if (read(ring.eventFd, &wakeups, sizeof wakeups) < 0 && errno != EAGAIN) fail("eventfd: %s", strerror(errno));
  unsigned head = *ring.cqHead, tail = __atomic_load_n(ring.cqTail, __ATOMIC_ACQUIRE);
  for (; head != tail; head += 1) {
    const struct io_uring_cqe *done = &ring.cqes[head & *ring.cqMask];
    if (done->res < 0) fail("write: %s", strerror(-done->res));
    if ((uint64_t)done->res != done->user_data >> 16) fail("short write of %d bytes", done->res);
    slotsFree[slotsFreeCount++] = (int)(done->user_data & 0xffff);
    partsDone += 1;
  }
  __atomic_store_n(ring.cqHead, head, __ATOMIC_RELEASE);
}

// ---- the origin ----

static void openConnection(struct connection *connection) {
  connection->fd = connectTo(options.host, options.port);
  connection->slot = -1;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
  epoll_ctl(epollFd, EPOLL_CTL_ADD, connection->fd, &event);
}

static void sendRequest(struct connection *connection) {
  const struct part *part = &parts[connection->part];
  char text[4096];
  int length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s:%d\r\nRange: bytes=%llu-%llu\r\n\r\n", part->path,
                        options.host, options.port, (unsigned long long)part->offset,
                        (unsigned long long)(part->offset + part->length - 1));
  if (length >= (int)sizeof text) fail("the path is too long: %s", part->path);
  if (send(connection->fd, text, (size_t)length, MSG_NOSIGNAL) != length) fail("send: %s", strerror(errno));
}

/** Gives idle connections a part each, while there are parts and slots. */
static void feed(void) {
  for (int i = 0; i < options.connections && partNext < partCount && slotsFreeCount > 0; i += 1) {
    struct connection *connection = &connections[i];
    if (connection->slot >= 0) continue;
    connection->slot = slotsFree[--slotsFreeCount];
    connection->part = partNext++;
    connection->received = connection->headLength = 0;
    connection->inBody = 0;
    sendRequest(connection);
  }
}

static void readHead(struct connection *connection) {
  const struct part *part = &parts[connection->part];
  char *head = connection->head;
  ssize_t got = recv(connection->fd, head + connection->headLength, headBytesMax - 1 - connection->headLength, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) fail("the origin closed the connection in a response head");
  connection->headLength += (size_t)got;
  head[connection->headLength] = 0;
  char *end = memmem(head, connection->headLength, "\r\n\r\n", 4);
  if (!end) {
    if (connection->headLength >= headBytesMax - 1) fail("the response head is longer than %d bytes", headBytesMax);
    return;
  }
  *end = 0;
  char *lengthLine = strcasestr(head, "\r\nContent-Length:");
  if (strncmp(head, "HTTP/1.1 206", 12) != 0 || !lengthLine) fail("%s: unexpected answer: %.60s", part->path, head);
  if (strtoull(lengthLine + 17, NULL, 10) != part->length) fail("%s: the answer has another length", part->path);
  size_t bodyAt = (size_t)(end - head) + 4;
  connection->received = connection->headLength - bodyAt;
  if (connection->received > part->length) fail("%s: the answer is too long", part->path);
  memcpy(slots + (uint64_t)connection->slot * options.partBytes, head + bodyAt, connection->received);
  connection->inBody = 1;
}

static void readBody(struct connection *connection) {
  const struct part *part = &parts[connection->part];
  uint8_t *at = slots + (uint64_t)connection->slot * options.partBytes + connection->received;
  ssize_t got = recv(connection->fd, at, part->length - connection->received, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) fail("the origin closed the connection in a body");
  connection->received += (uint64_t)got;
}

static void onReadable(struct connection *connection) {
  if (connection->slot < 0) fail("the origin sent something, or closed, without a request");
  if (connection->inBody) readBody(connection);
  else readHead(connection);
  const struct part *part = &parts[connection->part];
  if (!connection->inBody || connection->received < part->length) return;
  totalBytes += part->length;
  if (options.write) {
    submitWrite(connection->slot, part);
  } else {
    slotsFree[slotsFreeCount++] = connection->slot;
    partsDone += 1;
  }
  connection->slot = -1;
}

// ---- start ----

static void readOptions(int count, char **words) {
  int modeKnown = 0;
  for (int i = 1; i + 1 < count; i += 2) {
    const char *name = words[i], *value = words[i + 1];
    if (strcmp(name, "--host") == 0) options.host = value;
    else if (strcmp(name, "--port") == 0) options.port = atoi(value);
    else if (strcmp(name, "--file") == 0) options.file = value;
    else if (strcmp(name, "--connections") == 0) options.connections = atoi(value);
    else if (strcmp(name, "--part-bytes") == 0) options.partBytes = strtoull(value, NULL, 10);
    else if (strcmp(name, "--mode") == 0) {
      options.write = strcmp(value, "write") == 0;
      modeKnown = options.write || strcmp(value, "drop") == 0;
    } else fail("unknown option %s", name);
  }
  if (count % 2 == 0 || !modeKnown || options.port <= 0) fail("usage: receiver --port N --mode drop|write [--file PATH] …");
  if (options.write && !options.file) fail("--mode write needs --file");
  if (options.connections < 1 || options.connections > connectionsMax) fail("--connections is 1 to %d", connectionsMax);
  if (options.partBytes == 0 || options.partBytes % alignBytes != 0) fail("--part-bytes is a multiple of %d", alignBytes);
}

static void planParts(void) {
  char *line = NULL;
  size_t capacity = 0, partCapacity = 0;
  ssize_t length;
  while ((length = getline(&line, &capacity, stdin)) > 0) {
    if (line[length - 1] == '\n') line[length - 1] = 0;
    char *rest;
    uint64_t bytes = strtoull(line, &rest, 10);
    if (*rest != ' ') fail("not \"<bytes> <path>\": %s", line);
    const char *path = strdup(rest + 1);
    for (uint64_t at = 0; at < bytes; at += options.partBytes) {
      if (partCount == partCapacity) {
        partCapacity = partCapacity ? partCapacity * 2 : 1024;
        parts = realloc(parts, partCapacity * sizeof *parts);
      }
      uint64_t rest = bytes - at, take = rest < options.partBytes ? rest : options.partBytes;
      parts[partCount++] = (struct part){.path = path, .offset = at, .length = take, .fileOffset = fileBytes};
      fileBytes += alignUp(take);
    }
  }
  free(line);
}

static void openFile(void) {
  fileFd = open(options.file, O_RDWR | O_CREAT | O_DIRECT, 0600);
  if (fileFd < 0) fail("open %s with O_DIRECT: %s", options.file, strerror(errno));
  int error = posix_fallocate(fileFd, 0, (off_t)fileBytes);
  if (error) fail("fallocate %s: %s", options.file, strerror(error));
}

static void openSlots(void) {
  slotCount = options.connections * 2;  // one landing and one leaving for each connection
  size_t bytes = (size_t)slotCount * options.partBytes;
  slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (slots == MAP_FAILED) fail("mapping %zu bytes of slots: %s", bytes, strerror(errno));
  memset(slots, 1, bytes);  // a daemon that has run for a while does not meet page faults either
  slotsFree = calloc((size_t)slotCount, sizeof *slotsFree);
  while (slotsFreeCount < slotCount) {
    slotsFree[slotsFreeCount] = slotsFreeCount;
    slotsFreeCount += 1;
  }
}

int main(int count, char **words) {
  readOptions(count, words);
  planParts();
  if (partCount == 0) fail("no objects on standard input");
  if (options.write) openFile();
  openSlots();
  epollFd = epoll_create1(0);

  double wallStart = wallSeconds(), cpuStart = cpuSeconds();
  if (options.write) openRing();
  for (int i = 0; i < options.connections; i += 1) openConnection(&connections[i]);
  struct epoll_event events[connectionsMax + 1];
  while (partsDone < partCount) {
    feed();
    int ready = epoll_wait(epollFd, events, connectionsMax + 1, 30000);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) fail(ready == 0 ? "nothing happened for 30 s" : "epoll_wait failed");
    for (int i = 0; i < ready; i += 1) {
      if (events[i].data.ptr) onReadable(events[i].data.ptr);
      else reapWrites();
    }
  }
  if (options.write && fdatasync(fileFd) < 0) fail("fdatasync: %s", strerror(errno));
  printf("{\"bytes\":%llu,\"seconds\":%.6f,\"cpuSeconds\":%.6f}\n", (unsigned long long)totalBytes, wallSeconds() - wallStart,
         cpuSeconds() - cpuStart);
  return 0;
}
