// Files through the C library: buffers of streams, offsets, appending, temporary states, errors as C names them.
//@ libc = true
//@ stdout = "5 lines, 30 bytes\n"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void) {
  FILE *file = fopen("/file", "w+");
  assert(file);
  for (int i = 0; i < 5; i++) assert(fprintf(file, "line %d\n", i * i) > 0);
  assert(fflush(file) == 0);
  assert(ftell(file) == 36);
  rewind(file);
  char line[16];
  assert(fgets(line, sizeof line, file) && !strcmp(line, "line 0\n"));
  assert(fseek(file, -3, SEEK_END) == 0);
  assert(fread(line, 1, 16, file) == 3 && !memcmp(line, "16\n", 3));
  assert(feof(file) && !ferror(file));
  assert(ftruncate(fileno(file), 30) == 0);
  struct stat stat_of_file;
  assert(fstat(fileno(file), &stat_of_file) == 0 && stat_of_file.st_size == 30 && S_ISREG(stat_of_file.st_mode));
  assert(fclose(file) == 0);

  int fd = open("/file", O_RDONLY);
  assert(fd > 2);
  char bytes[8];
  assert(pread(fd, bytes, 4, 5) == 4 && !memcmp(bytes, "0\nli", 4));
  assert(read(fd, bytes, 6) == 6 && lseek(fd, 0, SEEK_CUR) == 6);
  assert(write(fd, "x", 1) == -1 && errno == EBADF);
  assert(lseek(fd, -1, SEEK_SET) == -1 && errno == EINVAL);
  assert(close(fd) == 0 && close(fd) == -1 && errno == EBADF);
  fd = open("/file", O_WRONLY | O_APPEND);
  assert(read(fd, bytes, 1) == -1 && errno == EBADF);
  assert(fcntl(fd, F_GETFL) & O_APPEND);
  assert(write(fd, "tail", 4) == 4 && lseek(fd, 0, SEEK_CUR) == 34);
  assert(close(fd) == 0);
  assert(open("/missing", O_RDONLY) == -1 && errno == ENOENT);
  assert(open("/file", O_CREAT | O_EXCL | O_WRONLY, 0666) == -1 && errno == EEXIST);
  assert(open("/file", O_DIRECTORY | O_RDONLY) == -1 && errno == ENOTDIR);
  assert(open("/", O_WRONLY) == -1 && errno == EISDIR);
  assert(access("/file", F_OK) == 0 && access("/missing", F_OK) == -1);
  assert(rename("/file", "/moved") == 0 && truncate("/moved", 30) == 0);
  assert(stat("/moved", &stat_of_file) == 0 && stat_of_file.st_size == 30);
  assert(unlink("/moved") == 0 && unlink("/moved") == -1 && errno == ENOENT);
  assert(!isatty(1) || errno != ENOTTY);
  printf("%d lines, %d bytes\n", 5, (int)stat_of_file.st_size);
  return 0;
}
