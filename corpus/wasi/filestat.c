// What is said of files, by descriptor and by path: kinds, sizes, links, and numbers that tell them apart.
//@ elsewhere = "inode numbers are those of another host"
#include "wasi.h"

static int same(filestat_t a, filestat_t b) { return a.device == b.device && a.inode == b.inode; }

PROGRAM {
  create("file", "12345");
  create("other", "");
  mkdir("dir");
  ok(path_symlink(P("file"), ROOT, P("link")));
  ok(path_symlink(P("dir"), ROOT, P("dir-link")));
  ok(path_symlink(P("nowhere"), ROOT, P("dangling")));
  filestat_t file = stat_path("file"), other = stat_path("other"), dir = stat_path("dir"), link = stat_path("link");
  is(file.type, REGULAR_FILE);
  is(file.size, 5);
  is(file.links, 1);
  is(dir.type, DIRECTORY);
  is(link.type, SYMBOLIC_LINK);
  is(link.size, 4);
  is(stat_path("dangling").type, SYMBOLIC_LINK);
  is(file.device, other.device);
  holds(file.inode != other.inode && file.inode != dir.inode && file.inode != link.inode);
  holds(file.modified > UINT64_C(1600000000000000000));
  holds(same(stat_at(__LINE__, ROOT, FOLLOW, "link"), file));
  is(stat_at(__LINE__, ROOT, FOLLOW, "link").type, REGULAR_FILE);
  is(stat_at(__LINE__, ROOT, FOLLOW, "dir-link").type, DIRECTORY);
  is(stat_at(__LINE__, ROOT, FOLLOW, "dir").type, DIRECTORY);
  holds(same(stat_at(__LINE__, ROOT, NOFOLLOW, "dir-link/../file"), file));
  fd_t fd = open_file("file", 0), dir_fd = open_with("dir", O_DIRECTORY, R_FILESTAT_GET, 0);
  holds(same(stat_fd(fd), file) && same(stat_fd(dir_fd), dir));
  is(stat_fd(fd).size, 5);
  ok(path_link(ROOT, NOFOLLOW, P("file"), ROOT, P("dir/hard")));
  holds(same(stat_path("dir/hard"), file));
  is(stat_fd(fd).links, 2);
  write_text(fd, "1234567");
  is(stat_path("dir/hard").size, 7);
  filestat_t stat;
  is(path_filestat_get(ROOT, NOFOLLOW, P("missing"), &stat), NOENT);
  is(path_filestat_get(ROOT, FOLLOW, P("dangling"), &stat), NOENT);
  is(path_filestat_get(ROOT, NOFOLLOW, P("file/x"), &stat), NOTDIR);
  differs(path_filestat_get(ROOT, NOFOLLOW, P("file/"), &stat), NOTDIR, OK, "a slash follows names of directories only");
  is(stat_path("dir/").type, DIRECTORY);
  differs(stat_path("dir-link/").type, DIRECTORY, SYMBOLIC_LINK, "a link before a slash is followed");
  is(path_filestat_get(ROOT, NOFOLLOW, P(""), &stat), NOENT);
  is(path_filestat_get(ROOT, NOFOLLOW, P("../file"), &stat), PERM);
  differs(path_filestat_get(fd, NOFOLLOW, P("file"), &stat), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");
  is(path_filestat_get(99, NOFOLLOW, P("file"), &stat), BADF);
  ends(path_filestat_get(ROOT, 2, P("file"), &stat), INVAL, "a flag that does not exist is an error");
  is(fd_filestat_get(99, &stat), BADF);
  is(fd_fdstat_get(99, &stat), BADF);
  for (fd_t stream = 0; stream < 3; stream++) {
    ok(fd_filestat_get(stream, &stat));
    is(stat.size, 0);
    fdstat(stream);
  }
}
