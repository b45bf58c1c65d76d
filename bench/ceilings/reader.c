// A client of an HTTP/1.1 server that costs as little as one can: GET or HEAD on keep-alive sockets by one thread (epoll),
// bodies received and dropped, the time of each answer taken. The first surprise ends it.
//
//   reader --port N --connections N --requests N [--method GET|HEAD] [--range-bytes N] [--order sequential|random] [--rate N]
//
// With --rate, so many requests a second are due, evenly spread, whatever became of those before; the time of an answer counts from
// when its request was due, also where every connection was busy then. Without it each connection asks again at once.
//
// Objects come on standard input, one a line: "<bytes> <request path>". Ranges are taken from all of them together, one after
// the other or anywhere (at multiples of their size, but for the last bytes of an object); without --range-bytes objects are
// read whole. Prints {"requests","bytes","seconds","cpuSeconds","p50Ms","p99Ms"}.
#define _GNU_SOURCE
#include "common.h"
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { headBytesMax = 8192, connectionsMax = 1024, dropBytes = 1 << 20 };

struct object {
  char *path;
  uint64_t bytes, firstRange, ranges;
};

struct connection {
  int fd, inBody;
  uint64_t expected, received;
  size_t headLength;
  double startedAt;
  char head[headBytesMax];
};

static struct {
  int port, connections, random, head;
  double rate;
  uint64_t requests, rangeBytes;
} options;

static struct object *objects;
static size_t objectCount;
static uint64_t rangeCount, sent, answered, totalBytes, seed = 88172645463325252ull;
static struct connection connections[connectionsMax];
static double *tookSeconds;
static char dropped[dropBytes];
static int epollFd, timerFd;
static double firstDueAt;
static struct connection *idle[connectionsMax];
static int idleCount;

/** xorshift64: the same ranges in every run. */
static uint64_t nextRandom(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

static void openConnection(struct connection *connection) {
  connection->fd = connectTo("127.0.0.1", options.port);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
  epoll_ctl(epollFd, EPOLL_CTL_ADD, connection->fd, &event);
}

static const struct object *objectOf(uint64_t range) {
  size_t low = 0, high = objectCount - 1;
  while (low < high) {
    size_t middle = (low + high + 1) / 2;
    if (objects[middle].firstRange <= range) low = middle;
    else high = middle - 1;
  }
  return &objects[low];
}

static double dueAt(uint64_t request) { return firstDueAt + (double)request / options.rate; }

static void sendRequest(struct connection *connection) {
  uint64_t range = (options.random ? nextRandom() : sent) % rangeCount;
  const struct object *object = objectOf(range);
  char text[4096], rangeLine[128] = "";
  connection->expected = object->bytes;
  if (options.rangeBytes != 0) {
    uint64_t from = (range - object->firstRange) * options.rangeBytes, rest = object->bytes - from;
    connection->expected = rest < options.rangeBytes ? rest : options.rangeBytes;
    snprintf(rangeLine, sizeof rangeLine, "Range: bytes=%llu-%llu\r\n", (unsigned long long)from,
             (unsigned long long)(from + connection->expected - 1));
  }
  int length = snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n", options.head ? "HEAD" : "GET",
                        object->path, options.port, rangeLine);
  connection->headLength = connection->received = 0;
  connection->inBody = 0;
  connection->startedAt = options.rate > 0 ? dueAt(sent) : wallSeconds();
  sent += 1;
  if (send(connection->fd, text, (size_t)length, MSG_NOSIGNAL) != length) fail("send: %s", strerror(errno));
}

static void readHead(struct connection *connection) {
  char *head = connection->head;
  ssize_t got = recv(connection->fd, head + connection->headLength, headBytesMax - 1 - connection->headLength, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) fail("the server closed the connection in a response head");
  connection->headLength += (size_t)got;
  head[connection->headLength] = 0;
  char *end = memmem(head, connection->headLength, "\r\n\r\n", 4);
  if (!end) {
    if (connection->headLength >= headBytesMax - 1) fail("the response head is too long");
    return;
  }
  *end = 0;
  char *lengthLine = strcasestr(head, "\r\nContent-Length:");
  if (strncmp(head, "HTTP/1.1 20", 11) != 0 || !lengthLine) fail("unexpected answer: %.200s", head);
  if (strtoull(lengthLine + 17, NULL, 10) != connection->expected) fail("the answer has another length: %.200s", head);
  connection->received = connection->headLength - (size_t)(end - head) - 4;
  connection->inBody = 1;
}

static void onReadable(struct connection *connection) {
  if (!connection->inBody) {
    readHead(connection);
  } else {
    uint64_t left = connection->expected - connection->received;
    ssize_t got = recv(connection->fd, dropped, left < dropBytes ? left : dropBytes, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) fail("the server closed the connection in a body");
    connection->received += (uint64_t)got;
  }
  if (!connection->inBody || (!options.head && connection->received < connection->expected)) return;
  tookSeconds[answered++] = wallSeconds() - connection->startedAt;
  totalBytes += connection->received;
  connection->inBody = 0;
  if (options.rate > 0) idle[idleCount++] = connection;
  else if (sent < options.requests) sendRequest(connection);
}

/** Asks for everything that is due while a connection is free, and sets the timer for what is due next. */
static void sendDue(void) {
  while (sent < options.requests && idleCount > 0 && dueAt(sent) <= wallSeconds()) sendRequest(idle[--idleCount]);
  if (sent == options.requests || idleCount == 0) return;
  double at = dueAt(sent);
  struct itimerspec when = {.it_value = {.tv_sec = (time_t)at, .tv_nsec = (long)((at - (double)(time_t)at) * 1e9)}};
  timerfd_settime(timerFd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void openTimer(void) {
  timerFd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epollFd, EPOLL_CTL_ADD, timerFd, &event);
  firstDueAt = wallSeconds();
  for (int i = options.connections - 1; i >= 0; i -= 1) idle[idleCount++] = &connections[i];
}

static void onTimer(void) {
  uint64_t expirations;
  if (read(timerFd, &expirations, sizeof expirations) < 0 && errno != EAGAIN) fail("timer: %s", strerror(errno));
}

static void readOptions(int count, char **words) {
  for (int i = 1; i + 1 < count; i += 2) {
    const char *name = words[i], *value = words[i + 1];
    if (strcmp(name, "--port") == 0) options.port = atoi(value);
    else if (strcmp(name, "--connections") == 0) options.connections = atoi(value);
    else if (strcmp(name, "--requests") == 0) options.requests = strtoull(value, NULL, 10);
    else if (strcmp(name, "--range-bytes") == 0) options.rangeBytes = strtoull(value, NULL, 10);
    else if (strcmp(name, "--order") == 0) options.random = strcmp(value, "random") == 0;
    else if (strcmp(name, "--method") == 0) options.head = strcmp(value, "HEAD") == 0;
    else if (strcmp(name, "--rate") == 0) options.rate = atof(value);
    else fail("unknown option %s", name);
  }
  if (options.port <= 0 || options.requests == 0) fail("usage: reader --port N --connections N --requests N …");
  if (options.connections < 1 || options.connections > connectionsMax) fail("--connections is 1 to %d", connectionsMax);
}

static void readObjects(void) {
  char *line = NULL;
  size_t capacity = 0, room = 0;
  ssize_t length;
  while ((length = getline(&line, &capacity, stdin)) > 0) {
    if (line[length - 1] == '\n') line[length - 1] = 0;
    char *rest;
    uint64_t bytes = strtoull(line, &rest, 10);
    if (*rest != ' ' || bytes == 0) fail("not \"<bytes> <path>\": %s", line);
    if (objectCount == room) objects = realloc(objects, (room = room ? room * 2 : 1024) * sizeof *objects);
    uint64_t ranges = options.rangeBytes == 0 ? 1 : (bytes + options.rangeBytes - 1) / options.rangeBytes;
    objects[objectCount++] = (struct object){strdup(rest + 1), bytes, rangeCount, ranges};
    rangeCount += ranges;
  }
  free(line);
}

static int byTime(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

int main(int count, char **words) {
  readOptions(count, words);
  readObjects();
  if (objectCount == 0) fail("no objects on standard input");
  tookSeconds = calloc(options.requests, sizeof *tookSeconds);
  epollFd = epoll_create1(0);
  for (int i = 0; i < options.connections; i += 1) openConnection(&connections[i]);
  double wallStart = wallSeconds(), cpuStart = cpuSeconds();
  if (options.rate > 0) openTimer();
  else
    for (int i = 0; i < options.connections && sent < options.requests; i += 1) sendRequest(&connections[i]);
  struct epoll_event events[connectionsMax];
  while (answered < options.requests) {
    if (options.rate > 0) sendDue();
    int ready = epoll_wait(epollFd, events, connectionsMax, 30000);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) fail(ready == 0 ? "nothing happened for 30 s" : "epoll_wait failed");
    for (int i = 0; i < ready; i += 1) {
      if (events[i].data.ptr == NULL) onTimer();
      else onReadable(events[i].data.ptr);
    }
  }
  double wall = wallSeconds() - wallStart, cpu = cpuSeconds() - cpuStart;
  qsort(tookSeconds, answered, sizeof *tookSeconds, byTime);
  printf("{\"requests\":%llu,\"bytes\":%llu,\"seconds\":%.6f,\"cpuSeconds\":%.6f,\"p50Ms\":%.3f,\"p99Ms\":%.3f}\n",
         (unsigned long long)answered, (unsigned long long)totalBytes, wall, cpu, tookSeconds[answered / 2] * 1e3,
         tookSeconds[answered * 99 / 100] * 1e3);
  return 0;
}
