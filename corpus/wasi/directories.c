// Directories: made, removed, with slashes at the end, not while there is something in them.
#include "wasi.h"

#define mkdir_is(path, error) is(path_create_directory(ROOT, P(path)), error)
#define rmdir_is(path, error) is(path_remove_directory(ROOT, P(path)), error)

PROGRAM {
  mkdir_is("dir", OK);
  mkdir_is("dir", EXIST);
  mkdir_is("dir/", EXIST);
  mkdir_is("dir/nested/", OK);
  mkdir_is("missing/nested", NOENT);
  mkdir_is(".", EXIST);
  mkdir_is("", NOENT);
  mkdir_is("../dir", PERM);
  mkdir_is("/dir", PERM);
  create("file", "");
  mkdir_is("file", EXIST);
  mkdir_is("file/dir", NOTDIR);
  is(path_create_directory(99, P("x")), BADF);
  differs(path_create_directory(1, P("x")), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");
  is(stat_path("dir/nested").type, DIRECTORY);

  rmdir_is("dir", NOTEMPTY);
  rmdir_is("missing", NOENT);
  rmdir_is("file", NOTDIR);
  rmdir_is("file/", NOTDIR);
  rmdir_is("../x", PERM);
  rmdir_is("", NOENT);
  is(path_remove_directory(99, P("x")), BADF);
  differs(path_remove_directory(1, P("x")), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");
  ok(path_symlink(P("dir/nested"), ROOT, P("link")));
  rmdir_is("link", NOTDIR);
  differs(path_remove_directory(ROOT, P("dir/nested/")), OK, INVAL, "a slash may follow the name of a directory");
  if (is_oracle()) rmdir_is("dir/nested", OK);
  rmdir_is("dir", OK);
  holds(!exists("dir"));
  mkdir_is("dir", OK);
  fd_t dir = open_dir("dir");
  ok(path_create_directory(dir, P("below")));
  is(stat_path("dir/below").type, DIRECTORY);
  ok(path_remove_directory(dir, P("below")));
  // A directory can go while it is open; nothing is made in it any more.
  rmdir_is("dir", OK);
  is(path_create_directory(dir, P("below")), NOENT);
  is(stat_fd(dir).type, DIRECTORY);
  // The name is free again, for another.
  mkdir_is("dir", OK);
  create("dir/file", "");
  is(open_error(dir, NOFOLLOW, "file", 0, 0), NOENT);
}
