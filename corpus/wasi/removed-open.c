// Files and directories that are removed while they are open: read, written, grown, cut off, by descriptors of their own
// and together, while others take their names.
#include "wasi.h"

PROGRAM {
  create("file", "0123456789");
  fd_t one = open_file("file", 0), two = open_with("file", 0, R_READ | R_SEEK | R_FILESTAT_GET, 0);
  read_is(one, 4, "0123");
  read_is(two, 2, "01");
  unlink("file");
  filestat_t stat = stat_fd(one);
  is(stat.links, 0);
  is(stat_fd(two).modified, stat.modified);
  is(stat_fd(one).size, 10);
  read_is(one, 2, "45");
  read_is(two, 3, "234");
  write_text(one, "abc");
  read_is(two, 9, "5abc9");
  fd_t other = open_file("file", CREAT | EXCL);
  write_text(other, "other");
  is(seek(one, 0, END), 10);
  write_text(one, "!");
  is(stat_fd(two).size, 11);
  is(seek(other, 0, SET), 0);
  read_is(other, 9, "other");
  ok(fd_filestat_set_size(one, 3));
  is(seek(two, 1, SET), 1);
  read_is(two, 9, "12");
  ok(fd_close(one));
  is(seek(two, 0, SET), 0);
  read_is(two, 9, "012");
  unlink("file");
  is(seek(other, 3, SET), 3);
  read_is(other, 9, "er");
  fd_t appending = open_with("log", CREAT, R_FILE, APPEND);
  write_text(appending, "first,");
  unlink("log");
  is(seek(appending, 0, SET), 0);
  write_text(appending, "second");
  is(seek(appending, 0, SET), 0);
  read_is(appending, 99, "first,second");
  is(fdstat(appending).flags, APPEND);

  mkdir("dir");
  fd_t dir = open_dir("dir");
  rmdir("dir");
  char entries[256];
  uint32_t used = 0;
  is(path_create_directory(dir, P("x")), NOENT);
  is(open_error(dir, NOFOLLOW, "x", CREAT, 0), NOENT);
  ok(fd_readdir(dir, entries, sizeof entries, 0, &used));
  is(stat_fd(dir).type, DIRECTORY);
  ok(fd_close(dir));
  is(fd_close(dir), BADF);
}
