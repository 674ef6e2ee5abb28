// Numbers of descriptors: the lowest free one, moved over another, gaps, streams and preopened directories.
//@ elsewhere = "inode numbers are those of another host"
#include "wasi.h"

PROGRAM {
  fd_t one = open_with("one", CREAT, R_READ | R_WRITE | R_SEEK, 0), two = open_file("two", CREAT);
  holds(one > ROOT && two > one);
  write_text(one, "1");
  write_text(two, "22");
  fdstat_t before = fdstat(one);
  ok(fd_renumber(one, two));
  is(fd_close(one), BADF);
  is(read_error(one), BADF);
  fdstat_t after = fdstat(two);
  holds(before.type == after.type && before.flags == after.flags && before.base == after.base &&
        before.inheriting == after.inheriting);
  is(seek(two, 0, CUR), 1);
  write_text(two, "1");
  is(stat_path("one").size, 2);
  is(stat_path("two").size, 2);
  is(fd_renumber(two, one), BADF);
  is(fd_renumber(one, two), BADF);
  is(fd_renumber(99, two), BADF);
  is(fd_renumber(two, 99), BADF);
  is(fd_renumber(0xffffffff, two), BADF);
  ok(fd_renumber(two, two));
  is(seek(two, 0, CUR), 2);
  if (!is_oracle()) {
    // The number that became free is given out first.
    is(open_file("one", 0), one);
    fd_t last = open_file("one", 0);
    is(last, two + 1);
    ok(fd_close(two));
    ok(fd_close(one));
    is(open_file("one", 0), one);
    is(open_file("one", 0), two);
    is(open_file("one", 0), last + 1);
  }
  // A stream moves like anything else, and its number is free then.
  fd_t place = open_file("one", 0);
  ok(fd_renumber(1, place));
  is(fd_fdstat_get(1, &before), BADF);
  write_text(place, "");
  fd_t again = open_file("one", 0);
  if (!is_oracle()) is(again, 1);
  ok(fd_renumber(again, place));
  // So does a directory, over a preopened one.
  fd_t dir = open_dir(".");
  filestat_t stat = stat_fd(dir);
  ok(fd_renumber(dir, ROOT));
  is(stat_fd(ROOT).inode, stat.inode);
  is(stat_fd(ROOT).device, stat.device);
  is(fd_fdstat_get(dir, &before), BADF);
  char prestat[8];
  is(fd_prestat_get(ROOT, prestat), BADF);
  create("through", "");
  ok(fd_close(ROOT));
  is(fd_close(ROOT), BADF);
}
