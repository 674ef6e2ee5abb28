// Many descriptors with gaps between their numbers, each at its own offset, some with flags, some moved to other numbers.
#include "wasi.h"

enum { FILES = 60 };
#define CLOSED 0xffffffff

PROGRAM {
  create("file", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghij");
  fd_t fds[FILES];
  for (int i = 0; i < FILES; i++) {
    fds[i] = open_with("file", 0, i % 2 ? R_READ | R_SEEK | R_TELL : R_FILE, i % 4 == 2 ? APPEND : 0);
    is(seek(fds[i], i, SET), i);
  }
  for (int i = 0; i < FILES; i += 3) {
    ok(fd_close(fds[i]));
    fds[i] = CLOSED;
  }
  // Some go to the place of others, which are closed by that.
  for (int i = 1; i + 4 < FILES; i += 9) {
    ok(fd_renumber(fds[i], fds[i + 4]));
    is(fd_close(fds[i]), BADF);
    fds[i] = fds[i + 4];
    fds[i + 4] = CLOSED;
  }
  int open = 0;
  for (int i = 0; i < FILES; i++) {
    if (fds[i] == CLOSED) continue;
    uint64_t offset;
    ok(fd_tell(fds[i], &offset));
    is(offset, i);
    char expected[2] = {'a' + i % 26, 0};
    read_is(fds[i], 1, expected);
    is(fdstat(fds[i]).flags, i % 4 == 2 ? APPEND : 0);
    if (!is_oracle()) is(fdstat(fds[i]).base, i % 2 ? R_READ | R_SEEK | R_TELL : R_FILE);
    open++;
  }
  is(open, 33);
}
