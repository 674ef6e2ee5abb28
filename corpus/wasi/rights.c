// Rights can be given up, never regained, and hold after a move. Reading and writing without the right is a bad
// descriptor, as in POSIX; the rest lacks a capability.
#include "wasi.h"

PROGRAM {
  fd_t file = open_with("file", CREAT, R_READ | R_WRITE | R_SEEK | R_TELL, 0);
  write_text(file, "0123");
  is(seek(file, 0, SET), 0);
  read_is(file, 4, "0123");
  if (is_oracle()) {
    is(fd_fdstat_set_rights(file, R_SEEK, 0), NOTSUP);
    return;
  }
  fdstat_t stat = fdstat(file);
  is(stat.base, R_READ | R_WRITE | R_SEEK | R_TELL);
  is(stat.inheriting, 0);
  is(fd_filestat_get(file, &(filestat_t){0}), NOTCAPABLE);
  is(fd_sync(file), NOTCAPABLE);
  is(fd_datasync(file), NOTCAPABLE);
  is(fd_allocate(file, 0, 9), NOTCAPABLE);
  is(fd_advise(file, 0, 9, 0), NOTCAPABLE);
  is(fd_filestat_set_size(file, 0), NOTCAPABLE);
  is(fd_filestat_set_times(file, 0, 0, MTIM_NOW), NOTCAPABLE);
  is(fd_fdstat_set_flags(file, APPEND), NOTCAPABLE);
  ok(fd_fdstat_set_rights(file, R_SEEK | R_TELL, 0));
  stat = fdstat(file);
  is(stat.base, R_SEEK | R_TELL);
  is(stat.inheriting, 0);
  is(read_error(file), BADF);
  is(write_error(file), BADF);
  is(seek(file, 1, SET), 1);
  const uint64_t more[] = {R_READ | R_SEEK | R_TELL, R_SEEK | R_TELL | R_SYNC, ~UINT64_C(0)};
  for (int i = 0; i < 3; i++) is(fd_fdstat_set_rights(file, more[i], 0), NOTCAPABLE);
  is(fd_fdstat_set_rights(file, R_SEEK | R_TELL, R_READ), NOTCAPABLE);
  ok(fd_fdstat_set_rights(file, R_SEEK | R_TELL, 0));
  ok(fd_fdstat_set_rights(file, R_TELL, 0));
  uint64_t position;
  is(fd_seek(file, 0, SET, &position), NOTCAPABLE);
  ok(fd_tell(file, &position));
  is(position, 1);
  ok(fd_fdstat_set_rights(file, 0, 0));
  is(fd_tell(file, &position), NOTCAPABLE);
  is(fd_fdstat_set_rights(99, 0, 0), BADF);
  ok(fd_close(file));

  // What a directory hands on can be given up too.
  fd_t dir = open_dir(".");
  uint64_t base = fdstat(dir).base;
  const struct { uint64_t right; uint32_t error; } lost[] = {
    {R_CREATE_DIRECTORY, path_create_directory(dir, P("made"))},
    {0, path_remove_directory(dir, P("made"))},
  };
  for (int i = 0; i < 2; i++) ok(lost[i].error);
  ok(fd_fdstat_set_rights(dir, base & ~(R_CREATE_DIRECTORY | R_UNLINK | R_SYMLINK | R_READLINK), 0));
  is(path_create_directory(dir, P("made")), NOTCAPABLE);
  is(path_unlink_file(dir, P("file")), NOTCAPABLE);
  is(path_symlink(P("file"), dir, P("link")), NOTCAPABLE);
  uint32_t used;
  char target[4];
  is(path_readlink(dir, P("link"), target, 4, &used), NOTCAPABLE);
  ok(fd_fdstat_set_rights(dir, R_OPEN, 0));
  filestat_t filestat;
  is(path_filestat_get(dir, NOFOLLOW, P("file"), &filestat), NOTCAPABLE);
  is(path_filestat_set_times(dir, NOFOLLOW, P("file"), 0, 0, MTIM_NOW), NOTCAPABLE);
  is(path_remove_directory(dir, P("x")), NOTCAPABLE);
  is(path_link(dir, NOFOLLOW, P("file"), ROOT, P("hard")), NOTCAPABLE);
  is(path_link(ROOT, NOFOLLOW, P("file"), dir, P("hard")), NOTCAPABLE);
  is(path_rename(dir, P("file"), ROOT, P("moved")), NOTCAPABLE);
  is(path_rename(ROOT, P("file"), dir, P("moved")), NOTCAPABLE);
  is(fd_readdir(dir, target, 4, 0, &used), NOTCAPABLE);
  ok(open_error(dir, NOFOLLOW, "file", 0, 0));
  is(open_error(dir, NOFOLLOW, "file", 0, R_READ), NOTCAPABLE);
  holds(exists("file"));
}
