// Paths that lead around: `.` and `..`, slashes at the end, and those that are refused.
#include "wasi.h"

#define open_is(path, error) is(open_error(ROOT, NOFOLLOW, path, 0, 0), error)
#define open_dir_is(path, error) is(open_error(ROOT, NOFOLLOW, path, O_DIRECTORY, 0), error)

PROGRAM {
  mkdir("dir");
  mkdir("dir/nested");
  create("dir/nested/file", "");
  open_is("dir/nested/file", OK);
  open_is("dir/.//nested/../../dir/nested/../nested///./file", OK);
  open_is("./dir", OK);
  open_is(".", OK);
  open_is("dir/..", OK);
  open_is("dir/nested/", OK);
  open_is("dir/nested///", OK);
  open_is("dir/nested/.", OK);
  open_dir_is("dir/nested/", OK);
  open_is("/dir/nested/file", PERM);
  open_is("/", PERM);
  open_is("..", PERM);
  open_is("dir/../..", PERM);
  open_is("dir/nested/../../../dir/nested/file", PERM);
  open_is("dir/nested/file/", NOTDIR);
  open_is("dir/nested/file///", NOTDIR);
  open_is("dir/nested/file/.", NOTDIR);
  open_is("dir/nested/file/x", NOTDIR);
  open_dir_is("dir/nested/file", NOTDIR);
  open_is("missing", NOENT);
  open_is("missing/x", NOENT);
  open_is("missing/", NOENT);
  open_is("", NOENT);
  is(open_error(ROOT, NOFOLLOW, "dir/nested/file\0", 0, 0), INVAL);
  is(open_error(ROOT, NOFOLLOW, "\xff\xfe", 0, 0), ILSEQ);
  is(open_error(ROOT, NOFOLLOW, "dir/\xc3", 0, 0), ILSEQ);
  static char name[5000];
  memset(name, 'x', sizeof name);
  fd_t fd;
  ok(path_open(ROOT, NOFOLLOW, name, 255, CREAT, 0, 0, 0, &fd));
  is(path_open(ROOT, NOFOLLOW, name, 256, CREAT, 0, 0, 0, &fd), NAMETOOLONG);
  is(path_open(ROOT, NOFOLLOW, name, sizeof name, CREAT, 0, 0, 0, &fd), NAMETOOLONG);
  // Names are bytes of UTF-8 and nothing else: no case is folded, blanks are part of it.
  create(" Ein größerer Name ", "text");
  open_is(" Ein größerer Name ", OK);
  open_is(" ein größerer name ", NOENT);
  // The same through a directory below.
  fd_t dir = open_dir("dir/nested");
  is(open_error(dir, NOFOLLOW, "file", 0, 0), OK);
  is(open_error(dir, NOFOLLOW, "./file", 0, 0), OK);
  is(open_error(dir, NOFOLLOW, "..", 0, 0), PERM);
  is(open_error(dir, NOFOLLOW, "../nested/file", 0, 0), PERM);
  is(open_error(dir, NOFOLLOW, "/file", 0, 0), PERM);
}
