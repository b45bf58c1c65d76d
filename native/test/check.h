// A test framework of one macro: a failed check says where and ends the program.
#pragma once
#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition);   \
      exit(1);                                                                        \
    }                                                                                 \
  } while (0)

void testConnections();
void testCrc();
void testDiskQueue();
void testFiles();
void testPageCache();
void testPageSender();
void testSdNotify();
