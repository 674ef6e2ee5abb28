// Directories through the C library: made, read, rewound, with inode numbers as `stat` says; the working directory.
//@ libc = true
//@ elsewhere = "inode numbers are those of another host"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int count(DIR *dir, int dir_fd) {
  int seen = 0;
  for (struct dirent *entry; (entry = readdir(dir));) {
    if (entry->d_name[0] == '.') continue;
    struct stat found;
    assert(fstatat(dir_fd, entry->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0);
    assert(found.st_ino == entry->d_ino);
    assert(entry->d_type == (S_ISDIR(found.st_mode) ? DT_DIR : S_ISLNK(found.st_mode) ? DT_LNK : DT_REG));
    seen++;
  }
  return seen;
}

int main(void) {
  assert(mkdir("dir", 0777) == 0);
  for (int i = 0; i < 30; i++) {
    char name[32];
    snprintf(name, sizeof name, "dir/a file with number %d", i);
    FILE *file = fopen(name, "w");
    assert(file && fputs(name, file) >= 0 && fclose(file) == 0);
  }
  assert(mkdir("dir/sub", 0777) == 0 && symlink("sub", "dir/link") == 0);
  int fd = open("dir", O_RDONLY | O_DIRECTORY);
  assert(fd > 2);
  DIR *dir = fdopendir(fd);
  assert(dir);
  assert(count(dir, fd) == 32);
  rewinddir(dir);
  assert(readdir(dir));
  long place = telldir(dir);
  struct dirent *next = readdir(dir);
  assert(next);
  char name[256];
  strcpy(name, next->d_name);
  assert(readdir(dir));
  seekdir(dir, place);
  assert((next = readdir(dir)) && !strcmp(next->d_name, name));
  assert(closedir(dir) == 0);
  char target[8];
  assert(readlink("dir/link", target, sizeof target) == 3 && !memcmp(target, "sub", 3));
  struct stat found;
  assert(lstat("dir/link", &found) == 0 && S_ISLNK(found.st_mode));
  assert(stat("dir/link", &found) == 0 && S_ISDIR(found.st_mode));
  assert(rmdir("dir") == -1 && errno == ENOTEMPTY);
  assert(chdir("dir") == 0);
  assert(stat("sub", &found) == 0 && S_ISDIR(found.st_mode));
  assert(chdir("/") == 0);
  for (int i = 0; i < 30; i++) {
    snprintf(name, sizeof name, "dir/a file with number %d", i);
    assert(unlink(name) == 0);
  }
  assert(rmdir("dir/sub") == 0 && unlink("dir/link") == 0 && rmdir("dir") == 0);
  assert(opendir("dir") == NULL && errno == ENOENT);
  return 0;
}
