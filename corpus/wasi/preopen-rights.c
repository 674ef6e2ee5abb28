// What a preopened directory can do and hand on, and opening it again with as much, less and too much.
#include "wasi.h"

#define BASE \
  (R_CREATE_DIRECTORY | R_CREATE_FILE | R_LINK_SOURCE | R_LINK_TARGET | R_OPEN | R_READDIR | R_READLINK | \
   R_RENAME_SOURCE | R_RENAME_TARGET | R_SYMLINK | R_REMOVE_DIRECTORY | R_UNLINK | R_PATH_FILESTAT_GET | \
   R_PATH_SET_TIMES | R_FILESTAT_GET | R_SET_TIMES)

PROGRAM {
  fdstat_t stat = fdstat(ROOT);
  is(stat.type, DIRECTORY);
  is(stat.base & BASE, BASE);
  is(stat.inheriting & (BASE | R_FILE), BASE | R_FILE);
  is(stat.base & (R_SEEK | R_WRITE | R_SET_SIZE), 0);
  fd_t same, bare;
  ok(path_open(ROOT, NOFOLLOW, P("."), 0, stat.base, stat.inheriting, 0, &same));
  if (!is_oracle()) {
    is(fdstat(same).base, stat.base);
    is(fdstat(same).inheriting, stat.inheriting);
  }
  ok(path_open(ROOT, NOFOLLOW, P("."), 0, 0, 0, 0, &bare));
  is(fdstat(bare).type, DIRECTORY);
  ok(path_open(ROOT, NOFOLLOW, P("."), O_DIRECTORY, 0, 0, 0, &bare));
  ok(path_open(ROOT, NOFOLLOW, P("."), O_DIRECTORY, R_READ, 0, 0, &bare));
  ok(path_open(ROOT, NOFOLLOW, P("."), 0, 0, 0, NONBLOCK, &bare));
  is(open_error(ROOT, NOFOLLOW, ".", O_DIRECTORY, R_READ | R_WRITE), ISDIR);
  is(open_error(ROOT, NOFOLLOW, ".", 0, R_WRITE), ISDIR);
  is(open_error(ROOT, NOFOLLOW, ".", CREAT, 0), ISDIR);
  // Without the right to open, nothing is.
  ok(path_open(ROOT, NOFOLLOW, P("."), O_DIRECTORY, 0, 0, 0, &bare));
  create("file", "");
  differs(open_error(bare, NOFOLLOW, "file", 0, 0), NOTCAPABLE, OK, "rights hold");
  // A directory without a right does not hand it on.
  fd_t reader;
  ok(path_open(ROOT, NOFOLLOW, P("."), O_DIRECTORY, R_OPEN, R_READ, 0, &reader));
  ok(open_error(reader, NOFOLLOW, "file", 0, R_READ));
  differs(open_error(reader, NOFOLLOW, "file", 0, R_READ | R_WRITE), NOTCAPABLE, OK, "rights hold");
  differs(open_error(reader, NOFOLLOW, "file", TRUNC, R_READ), PERM, OK, "rights hold");
  differs(open_error(reader, NOFOLLOW, "new", CREAT, R_READ), NOTCAPABLE, OK, "rights hold");
}
