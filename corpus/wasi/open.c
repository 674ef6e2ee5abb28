// Opening: creating, only creating, emptying, only directories; and what is opened below something else.
#include "wasi.h"

#define open_is(path, oflags, error) is(open_error(ROOT, NOFOLLOW, path, oflags, R_READ), error)

PROGRAM {
  open_is("file", 0, NOENT);
  open_is("file", EXCL, NOENT);
  open_is("file", TRUNC, NOENT);
  open_is("file", CREAT | EXCL, OK);
  open_is("file", CREAT | EXCL, EXIST);
  open_is("file", CREAT, OK);
  open_is("file", O_DIRECTORY, NOTDIR);
  is(open_error(ROOT, NOFOLLOW, "new", CREAT | O_DIRECTORY, R_READ), INVAL);
  holds(!exists("new"));
  ends(open_error(ROOT, NOFOLLOW, "file", 16, R_READ), INVAL, "a flag that does not exist is an error");
  ends(open_error(ROOT, 2, "file", 0, R_READ), INVAL, "a flag that does not exist is an error");
  open_is("missing/file", CREAT, NOENT);
  open_is("file/x", CREAT, NOTDIR);
  create("full", "content");
  differs(open_error(ROOT, NOFOLLOW, "full", O_DIRECTORY | TRUNC, R_READ), NOTDIR, INVAL, "asking for a directory and to empty it is no error by itself");
  is(stat_path("full").size, 7);
  open_is("full", CREAT, OK);
  is(stat_path("full").size, 7);
  open_is("full", TRUNC, OK);
  is(stat_path("full").size, 0);
  create("full", "content");
  open_is("full", CREAT | TRUNC, OK);
  is(stat_path("full").size, 0);
  // Creating without rights makes an empty file all the same.
  is(open_error(ROOT, NOFOLLOW, "bare", CREAT, 0), OK);
  is(stat_path("bare").size, 0);
  is(stat_path("bare").type, REGULAR_FILE);
  mkdir("dir");
  open_is("dir", 0, OK);
  open_is("dir", O_DIRECTORY, OK);
  open_is("dir", CREAT, ISDIR);
  open_is("dir", TRUNC, ISDIR);
  open_is("dir", CREAT | EXCL, EXIST);
  is(open_error(ROOT, NOFOLLOW, "dir", 0, R_WRITE), ISDIR);
  is(open_error(ROOT, NOFOLLOW, "dir", O_DIRECTORY, R_READ | R_WRITE), ISDIR);
  open_is("dir/", CREAT, ISDIR);
  open_is("new/", CREAT, ISDIR);
  fd_t file = open_file("file", 0), dir = open_dir("dir");
  is(open_error(file, NOFOLLOW, "x", CREAT, 0), NOTDIR);
  differs(open_error(1, NOFOLLOW, "x", 0, 0), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");
  is(open_error(99, NOFOLLOW, "x", 0, 0), BADF);
  create_at(__LINE__, dir, "inner", "in");
  fd_t inner = open_file("dir/inner", 0);
  read_is(inner, 9, "in");
  is(open_error(dir, NOFOLLOW, "file", 0, 0), NOENT);
  fdstat_t stat = fdstat(inner);
  is(stat.type, REGULAR_FILE);
  is(stat.flags, 0);
}
