// No path leads out of a directory: not by `..`, not by an absolute path, not by a link, whoever made it.
//@ files = { "in/file" = "inside" }
//@ links = { "absolute" = "/etc", "in/up" = "../..", "chain" = "in/up/x", "dots" = "..", "self" = "in/../in/file" }
//@ elsewhere = "links that lead out are not shipped"
#include "wasi.h"

static const char *const ways_out[] = {"..", "../x", "in/../..", "absolute", "absolute/passwd", "in/up", "in/up/etc", "chain",
                                       "dots", "dots/x", "/", "/etc/passwd"};

PROGRAM {
  create("mine", "");
  for (uint32_t i = 0; i < sizeof ways_out / sizeof *ways_out; i++) {
    const char *path = ways_out[i];
    uint32_t size = strlen(path);
    filestat_t stat;
    fd_t fd;
    is(path_open(ROOT, FOLLOW, path, size, 0, R_READ, 0, 0, &fd), PERM);
    is(path_open(ROOT, FOLLOW, path, size, CREAT, R_READ, 0, 0, &fd), PERM);
    is(path_open(ROOT, FOLLOW, path, size, O_DIRECTORY, R_READDIR, 0, 0, &fd), PERM);
    is(path_filestat_get(ROOT, FOLLOW, path, size, &stat), PERM);
    is(path_filestat_set_times(ROOT, FOLLOW, path, size, 0, 0, MTIM), PERM);
  }
  // A path through such a link is refused, however it ends.
  is(path_create_directory(ROOT, P("in/up/made")), PERM);
  is(path_unlink_file(ROOT, P("in/up/made")), PERM);
  is(path_remove_directory(ROOT, P("absolute/made")), PERM);
  is(path_rename(ROOT, P("mine"), ROOT, P("dots/mine")), PERM);
  is(path_rename(ROOT, P("absolute/passwd"), ROOT, P("passwd")), PERM);
  is(path_link(ROOT, NOFOLLOW, P("absolute/passwd"), ROOT, P("passwd")), PERM);
  is(path_link(ROOT, NOFOLLOW, P("mine"), ROOT, P("in/up/mine")), PERM);
  is(path_symlink(P("mine"), ROOT, P("dots/mine")), PERM);
  is(path_symlink(P("/etc/passwd"), ROOT, P("passwd")), PERM);
  // Links that lead out can be looked at, renamed and removed, for that needs not follow them.
  char target[8];
  uint32_t used;
  ok(path_readlink(ROOT, P("in/up"), target, sizeof target, &used));
  is(used, 5);
  is(stat_path("absolute").type, SYMBOLIC_LINK);
  ok(path_rename(ROOT, P("dots"), ROOT, P("in/dots")));
  // From there it leads to where we may be.
  is(open_error(ROOT, FOLLOW, "in/dots/mine", 0, R_READ), OK);
  unlink("in/dots");
  unlink("chain");
  // A link that stays inside is good.
  fd_t fd;
  ok(path_open(ROOT, FOLLOW, P("self"), 0, R_FILE, 0, 0, &fd));
  read_is(fd, 9, "inside");
  // A directory below is a world of its own.
  fd_t in = open_dir("in");
  is(open_error(in, FOLLOW, "../mine", 0, R_READ), PERM);
  is(open_error(in, FOLLOW, "up", 0, R_READ), PERM);
  ok(path_symlink(P("../mine"), in, P("sideways")));
  is(open_error(in, FOLLOW, "sideways", 0, R_READ), PERM);
  is(open_error(ROOT, FOLLOW, "in/sideways", 0, R_READ), OK);
}
