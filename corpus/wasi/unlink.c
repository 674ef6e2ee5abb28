// Removing files: by name, not of directories, with a slash at the end; open ones live on.
#include "wasi.h"

#define unlink_is(path, error) is(path_unlink_file(ROOT, P(path)), error)

PROGRAM {
  mkdir("dir");
  unlink_is("dir", ISDIR);
  unlink_is("dir/", ISDIR);
  rmdir("dir");
  create("file", "text");
  unlink_is("file/", NOTDIR);
  unlink_is("file", OK);
  unlink_is("file", NOENT);
  unlink_is("missing/file", NOENT);
  unlink_is("", NOENT);
  unlink_is("../file", PERM);
  unlink_is("/file", PERM);
  is(path_unlink_file(99, P("file")), BADF);
  differs(path_unlink_file(2, P("file")), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");
  mkdir("dir");
  ok(path_symlink(P("dir"), ROOT, P("link")));
  unlink_is("link/", ISDIR);
  unlink_is("link", OK);
  holds(exists("dir"));
}
