// A directory that is read while files are made and removed: those that were there all the time come exactly once, and
// removing each entry as it comes empties the directory.
#include "entries.h"

static void make(fd_t dir, char kind, char number) {
  char name[3] = {kind, number, 0};
  create_at(__LINE__, dir, name, "");
}

PROGRAM {
  mkdir("dir");
  fd_t dir = open_dir("dir");
  for (char i = 'a'; i <= 'p'; i++) make(dir, 's', i);
  for (char i = 'a'; i <= 'h'; i++) make(dir, 'o', i);
  uint32_t seen[128] = {0}, step = 0;
  uint64_t cookie = 0;
  while (list(dir, 80, cookie, 1) == 1) {
    entry_t found = entries[0];
    cookie = found.record.next;
    if (found.name[0] == 's') seen[(int)found.name[1]]++;
    // One that may have been seen goes, another comes.
    if (step < 8) {
      char gone[2] = {'o', 'a' + step};
      ok(path_unlink_file(dir, gone, 2));
      make(dir, 'n', 'a' + step);
    }
    step++;
    holds(step < 60);
  }
  for (char i = 'a'; i <= 'p'; i++) is(seen[(int)i], 1);
  uint32_t count = list(dir, 256, 0, ENTRIES_MAX);
  is(count, 2 + 16 + 8);
  entry(count, "nh");

  if (is_oracle()) return;
  // As `rm -r` does. wasmtime takes a cookie for an index into the directory as it is by then.
  cookie = 0;
  step = 0;
  while (list(dir, 60, cookie, 1) == 1) {
    cookie = entries[0].record.next;
    if (entries[0].name[0] != '.') ok(path_unlink_file(dir, entries[0].name, strlen(entries[0].name)));
    step++;
  }
  is(step, 26);
  is(list(dir, 256, 0, ENTRIES_MAX), 2);
  rmdir("dir");
}
