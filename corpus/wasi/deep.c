// Directories opened one through the other, 20 deep, while those above are renamed.
#include "wasi.h"

enum { DEPTH = 20 };

PROGRAM {
  fd_t dirs[DEPTH + 1] = {ROOT};
  for (int i = 0; i < DEPTH; i++) {
    ok(path_create_directory(dirs[i], P("down")));
    dirs[i + 1] = open_at(__LINE__, dirs[i], "down", O_DIRECTORY, R_DIRECTORY, 0);
    char depth[2] = {'a' + i, 0};
    create_at(__LINE__, dirs[i + 1], "file", depth);
  }
  fd_t file = open_at(__LINE__, dirs[DEPTH], "file", 0, R_FILE, 0);
  for (int i = 0; i < DEPTH; i += 3) ok(path_rename(dirs[i], P("down"), dirs[i], P("renamed")));
  for (int i = DEPTH; i > 0; i--) {
    char depth[2] = {'a' + i - 1, 0};
    fd_t found = open_at(__LINE__, dirs[i], "file", 0, R_FILE, 0);
    read_is(found, 9, depth);
    ok(fd_close(found));
  }
  read_is(file, 9, "t");
  read_is(open_file("renamed/down/down/renamed/file", 0), 9, "d");
  // Up and down again below one that is open.
  fd_t around = open_at(__LINE__, dirs[1], "down/../down/down/../../file", 0, R_FILE, 0);
  read_is(around, 9, "a");
  ok(fd_close(dirs[1]));
  is(open_error(dirs[2], NOFOLLOW, "../file", 0, R_READ), PERM);
  is(seek(around, 0, SET), 0);
  read_is(around, 9, "a");
}
