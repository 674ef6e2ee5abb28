// What a file is opened for is what can be done with it: reading, writing, both or neither.
#include "wasi.h"

PROGRAM {
  create("file", "");
  fd_t reader = open_with("file", 0, R_READ, 0), writer = open_with("file", 0, R_WRITE, 0);
  is(fdstat(reader).base & (R_READ | R_WRITE), R_READ);
  is(fdstat(writer).base & (R_READ | R_WRITE), R_WRITE);
  read_is(reader, 9, "");
  is(write_error(reader), BADF);
  is(read_error(writer), BADF);
  for (int i = 0; i < 50; i++) write_text(writer, "1");
  // What is written is there at once.
  read_is(reader, 20, "11111111111111111111");
  fd_t both = open_with("file", 0, R_READ | R_WRITE | R_FILESTAT_GET, 0);
  is(fdstat(both).base & (R_READ | R_WRITE), R_READ | R_WRITE);
  is(strlen(read_bytes(__LINE__, both, 100)), 50);
  write_text(both, "22222");
  is(stat_fd(both).size, 55);
  fd_t neither = open_with("file", 0, 0, 0);
  differs(read_error(neither), BADF, OK, "without rights nothing can be read");
  is(write_error(neither), BADF);
  fdstat_t stat = fdstat(neither);
  is(stat.type, REGULAR_FILE);
  if (!is_oracle()) is(stat.base & (R_READ | R_WRITE), 0);
  // Rights of directories do not apply to files.
  fd_t file;
  ok(path_open(ROOT, NOFOLLOW, P("file"), 0, R_READ | R_PATH_FILESTAT_GET | R_OPEN, 0, 0, &file));
  if (!is_oracle()) is(fdstat(file).base & (R_PATH_FILESTAT_GET | R_OPEN), 0);
  // Cutting off needs no right to write through the descriptor.
  ok(open_error(ROOT, NOFOLLOW, "file", TRUNC, R_READ));
  is(stat_path("file").size, 0);
  read_is(reader, 9, "");
  write_text(writer, "3");
  is(stat_path("file").size, 51);
}
