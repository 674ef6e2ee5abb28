// Times of files: set by descriptor and by path, of a link or of what it leads to, to now or to a point in time.
//@ elsewhere = "times of access and of links are not shipped"
#include "wasi.h"

#define SECOND UINT64_C(1000000000)

PROGRAM {
  fd_t file = open_file("file", CREAT);
  ok(path_symlink(P("file"), ROOT, P("link")));
  filestat_t before = stat_fd(file);
  ok(fd_filestat_set_times(file, 1, 5 * SECOND + 123456789, MTIM));
  filestat_t after = stat_fd(file);
  is(after.modified, 5 * SECOND + 123456789);
  is(after.accessed, before.accessed);
  ok(fd_filestat_set_times(file, 7 * SECOND, 1, ATIM));
  ok(fd_filestat_set_times(file, 9, 9, 0));
  after = stat_path("file");
  is(after.accessed, 7 * SECOND);
  is(after.modified, 5 * SECOND + 123456789);
  ok(fd_filestat_set_times(file, 0, 0, MTIM_NOW | ATIM));
  after = stat_fd(file);
  is(after.accessed, 0);
  holds(after.modified + SECOND > before.modified);
  ok(fd_filestat_set_times(file, 3 * SECOND, 4 * SECOND, ATIM | MTIM));

  filestat_t link = stat_path("link");
  ok(path_filestat_set_times(ROOT, NOFOLLOW, P("link"), 0, link.modified - 200, MTIM));
  is(stat_path("link").modified, link.modified - 200);
  is(stat_fd(file).modified, 4 * SECOND);
  is(stat_at(__LINE__, ROOT, FOLLOW, "link").modified, 4 * SECOND);
  ok(path_filestat_set_times(ROOT, FOLLOW, P("link"), 0, 8 * SECOND, MTIM));
  is(stat_fd(file).modified, 8 * SECOND);
  is(stat_fd(file).accessed, 3 * SECOND);
  is(stat_path("link").modified, link.modified - 200);

  for (uint32_t flags = 0; flags < 16; flags++) {
    int contradicts = (flags & 3) == 3 || (flags & 12) == 12;
    if (contradicts) is(fd_filestat_set_times(file, 100, 200, flags), INVAL);
    if (contradicts) is(path_filestat_set_times(ROOT, NOFOLLOW, P("file"), 100, 200, flags), INVAL);
  }
  is(stat_fd(file).modified, 8 * SECOND);
  ends(fd_filestat_set_times(file, 0, 0, 16), INVAL, "a flag that does not exist is an error");
  ends(path_filestat_set_times(ROOT, NOFOLLOW, P("file"), 0, 0, 16), INVAL, "a flag that does not exist is an error");
  ends(path_filestat_set_times(ROOT, 2, P("file"), 0, 0, MTIM), INVAL, "a flag that does not exist is an error");
  is(path_filestat_set_times(ROOT, NOFOLLOW, P("missing"), 0, 0, MTIM), NOENT);
  is(path_filestat_set_times(ROOT, NOFOLLOW, P("../x"), 0, 0, MTIM), PERM);
  differs(path_filestat_set_times(file, NOFOLLOW, P("file"), 0, 0, MTIM), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");
  is(path_filestat_set_times(99, NOFOLLOW, P("file"), 0, 0, MTIM), BADF);
  is(fd_filestat_set_times(99, 0, 0, MTIM), BADF);
  differs(fd_filestat_set_times(1, 0, 0, MTIM_NOW), NOTCAPABLE, BADF, "rights hold");
}
