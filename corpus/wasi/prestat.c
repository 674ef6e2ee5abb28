// Preopened directories: found one after the other by number, with the names that they were given.
//@ dirs = ["/", "second", "third/name"]
#include "wasi.h"

static const char *const names[] = {"/", "second", "third/name"};

PROGRAM {
  char name[16];
  for (fd_t fd = ROOT; fd < ROOT + 3; fd++) {
    const char *expected = names[fd - ROOT];
    prestat_t prestat = {9, 9};
    ok(fd_prestat_get(fd, &prestat));
    is(prestat.tag & 0xff, 0);
    is(prestat.name_size, strlen(expected));
    // The name is not terminated.
    memset(name, '!', sizeof name);
    ok(fd_prestat_dir_name(fd, name, prestat.name_size));
    is(memcmp(name, expected, prestat.name_size), 0);
    is(name[prestat.name_size], '!');
    memset(name, '!', sizeof name);
    ok(fd_prestat_dir_name(fd, name, sizeof name));
    is(memcmp(name, expected, prestat.name_size), 0);
    is(name[prestat.name_size], '!');
    for (uint32_t size = 0; size < prestat.name_size; size++) is(fd_prestat_dir_name(fd, name, size), NAMETOOLONG);
    fdstat_t stat = fdstat(fd);
    is(stat.type, DIRECTORY);
    is(stat.flags, 0);
  }
  create("file", "");
  const fd_t others[] = {0, 1, 2, 98, open_file("file", 0), open_with(".", O_DIRECTORY, R_READDIR, 0), 99};
  for (int i = 0; i < 7; i++) {
    prestat_t prestat;
    is(fd_prestat_get(others[i], &prestat), BADF);
    differs(fd_prestat_dir_name(others[i], name, sizeof name), BADF, i == 3 || i == 6 ? BADF : NOTDIR,
            "only a preopened directory has a name");
  }
  // A file in one directory is not in another.
  create_at(__LINE__, ROOT + 1, "only-there", "");
  holds(!exists("only-there"));
  filestat_t stat;
  ok(path_filestat_get(ROOT + 1, NOFOLLOW, P("only-there"), &stat));
  // Closed ones are gone, the others stay where they are, and the number is used again.
  ok(fd_close(ROOT + 1));
  prestat_t prestat;
  is(fd_prestat_get(ROOT + 1, &prestat), BADF);
  ok(fd_prestat_get(ROOT + 2, &prestat));
  differs(open_file("file", 0), ROOT + 1, 8, "the lowest free number is used");
  is(fd_prestat_get(ROOT + 1, &prestat), BADF);
}
