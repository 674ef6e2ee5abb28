// A directory of 300 files, read through a small buffer: each comes once.
//@ elsewhere = "hundreds of files take long to ship at each call"
#include "entries.h"

enum { FILES = 300 };

static uint32_t name_of(char *name, int number) {
  memcpy(name, "file.", 5);
  for (int digit = 2; digit >= 0; digit--, number /= 10) name[5 + digit] = '0' + number % 10;
  return 8;
}

PROGRAM {
  char name[9] = {0};
  for (int i = 0; i < FILES; i++) {
    fd_t fd;
    ok(path_open(ROOT, NOFOLLOW, name, name_of(name, i), CREAT, R_READ | R_WRITE | R_READDIR, 0, 0, &fd));
    holds(fd > 2);
    ok(fd_close(fd));
  }
  is(list(ROOT, 256, 0, ENTRIES_MAX), FILES + 2);
  uint8_t seen[FILES] = {0};
  for (int i = 2; i < FILES + 2; i++) {
    const char *digits = entries[i].name + 5;
    int number = (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + digits[2] - '0';
    holds(number >= 0 && number < FILES && !seen[number]);
    seen[number] = 1;
    is(entries[i].record.type, REGULAR_FILE);
  }
  for (int i = 0; i < FILES; i++) ok(path_unlink_file(ROOT, name, name_of(name, i)));
  is(list(ROOT, 256, 0, ENTRIES_MAX), 2);
}
