// What cannot be done with a directory: reading, writing, seeking, setting a size.
//@ elsewhere = "times of directories are not shipped"
#include "wasi.h"

PROGRAM {
  mkdir("dir");
  fd_t dir = open_with("dir", O_DIRECTORY, R_SEEK | R_READ | R_READDIR | R_FILESTAT_GET | R_SET_TIMES | R_SYNC | R_DATASYNC, 0);
  is(fdstat(dir).base & R_SEEK, 0);
  const fd_t dirs[] = {ROOT, dir};
  for (int i = 0; i < 2; i++) {
    fd_t fd = dirs[i];
    char byte;
    buffer_t buffer = {&byte, 1};
    uint32_t size;
    uint64_t position;
    is(stat_fd(fd).type, DIRECTORY);
    is(fdstat(fd).type, DIRECTORY);
    differs(fd_read(fd, &buffer, 1, &size), ISDIR, BADF, "a directory cannot be read as a file");
    differs(fd_pread(fd, &buffer, 1, 0, &size), ISDIR, BADF, "a directory cannot be read as a file");
    is(fd_write(fd, &buffer, 1, &size), BADF);
    is(fd_pwrite(fd, &buffer, 1, 0, &size), BADF);
    for (uint32_t whence = SET; whence <= END; whence++)
      is(fd_seek(fd, 0, whence, &position), BADF);
    is(fd_tell(fd, &position), BADF);
    is(fd_allocate(fd, 0, 1), BADF);
    is(fd_filestat_set_size(fd, 0), BADF);
    is(fd_advise(fd, 0, 0, 0), BADF);
  }
  differs(fd_sync(dir), OK, BADF, "a directory can be synchronised");
  differs(fd_datasync(dir), OK, BADF, "a directory can be synchronised");
  ok(fd_filestat_set_times(dir, 0, UINT64_C(1000000000), MTIM));
  is(stat_path("dir").modified, UINT64_C(1000000000));
}
