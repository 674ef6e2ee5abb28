// Reading directories: the entries, in pieces of any size.
#pragma once
#include "wasi.h"

enum { NAME_MAX_BYTES = 32, ENTRIES_MAX = 320 };
typedef struct { char name[NAME_MAX_BYTES]; dirent_t record; } entry_t;
static entry_t entries[ENTRIES_MAX];

// Reads from `cookie` on with buffers of so many bytes, at most so many entries; answers how many there were.
static inline uint32_t list_at(int line, fd_t dir, uint32_t buffer_size, uint64_t cookie, uint32_t entries_max) {
  static char buffer[1024];
  uint32_t count = 0;
  for (;;) {
    uint32_t used = 0, error = fd_readdir(dir, buffer, buffer_size, cookie, &used);
    if (error) return fail(line, "fd_readdir", error, OK), count;
    if (used > buffer_size) fail(line, "fd_readdir: used", used, buffer_size);
    for (uint32_t at = 0; at + sizeof(dirent_t) <= used;) {
      dirent_t record;
      memcpy(&record, buffer + at, sizeof record);
      at += sizeof record;
      // What is cut off comes again.
      if (at + record.name_size > used) break;
      if (record.name_size >= NAME_MAX_BYTES || count == ENTRIES_MAX)
        return fail(line, "fd_readdir: name_size", record.name_size, NAME_MAX_BYTES), count;
      entry_t *entry = &entries[count++];
      memcpy(entry->name, buffer + at, record.name_size);
      entry->name[record.name_size] = 0;
      entry->record = record;
      at += record.name_size;
      cookie = record.next;
      if (count == entries_max) return count;
    }
    if (used < buffer_size) return count;
  }
}
#define list(dir, buffer_size, cookie, entries_max) list_at(__LINE__, dir, buffer_size, cookie, entries_max)

// The entry of this name among the first `count`.
static inline entry_t *find_entry(int line, uint32_t count, const char *name) {
  for (uint32_t i = 0; i < count; i++)
    if (!strcmp(entries[i].name, name)) return &entries[i];
  fail(line, name, 0, 1);
  static entry_t none;
  return &none;
}
#define entry(count, name) find_entry(__LINE__, count, name)
