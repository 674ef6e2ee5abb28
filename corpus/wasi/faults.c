// Pointers that lead out of memory are the error EFAULT, and nothing else happens.
//@ args = ["one"]
//@ env = [["A", "b"]]
//@ oracle = "wasmtime ends a program that passes a bad pointer"
#include "wasi.h"

#define faults(call) is(call, FAULT)

PROGRAM {
  create("file", "abc");
  fd_t file = open_file("file", 0), dir = open_dir(".");
  uint32_t word;
  char bytes[64];
  buffer_t buffer = {bytes, 2}, wild = {OUTSIDE, 2}, long_one = {bytes, 0xffffffff};
  const subscription_t wait = {1, ON_CLOCK, .clock = {MONOTONIC, 0, 0, 0}};
  event_t event;
  faults(args_get(OUTSIDE, bytes));
  faults(args_get(bytes, OUTSIDE));
  faults(args_sizes_get(OUTSIDE, &word));
  faults(args_sizes_get(&word, OUTSIDE));
  faults(environ_get(OUTSIDE, bytes));
  faults(environ_get(bytes, OUTSIDE));
  faults(environ_sizes_get(OUTSIDE, &word));
  faults(environ_sizes_get(&word, OUTSIDE));
  faults(clock_res_get(REALTIME, OUTSIDE));
  faults(clock_time_get(REALTIME, 0, OUTSIDE));
  faults(random_get(OUTSIDE, 4));
  faults(random_get(bytes, 0xffffffff));
  faults(fd_fdstat_get(file, OUTSIDE));
  faults(fd_filestat_get(file, OUTSIDE));
  faults(fd_prestat_get(ROOT, OUTSIDE));
  faults(fd_prestat_dir_name(ROOT, OUTSIDE, 1));
  faults(fd_read(file, OUTSIDE, 1, &word));
  faults(fd_read(file, &wild, 1, &word));
  faults(fd_read(file, &long_one, 1, &word));
  faults(fd_read(file, &buffer, 1, OUTSIDE));
  faults(fd_read(file, &buffer, 0x20000001, &word));
  faults(fd_pread(file, OUTSIDE, 1, 0, &word));
  faults(fd_pread(file, &wild, 1, 0, &word));
  faults(fd_pread(file, &buffer, 1, 0, OUTSIDE));
  faults(fd_write(file, OUTSIDE, 1, &word));
  faults(fd_write(file, &wild, 1, &word));
  faults(fd_write(file, &long_one, 1, &word));
  faults(fd_write(file, &buffer, 1, OUTSIDE));
  faults(fd_pwrite(file, OUTSIDE, 1, 0, &word));
  faults(fd_pwrite(file, &wild, 1, 0, &word));
  faults(fd_pwrite(file, &buffer, 1, 0, OUTSIDE));
  faults(fd_seek(file, 1, SET, OUTSIDE));
  faults(fd_tell(file, OUTSIDE));
  faults(fd_readdir(dir, OUTSIDE, 64, 0, &word));
  faults(fd_readdir(dir, bytes, 64, 0, OUTSIDE));
  faults(path_create_directory(ROOT, OUTSIDE, 4));
  faults(path_create_directory(ROOT, bytes, 0xffffffff));
  faults(path_filestat_get(ROOT, NOFOLLOW, OUTSIDE, 4, bytes));
  faults(path_filestat_get(ROOT, NOFOLLOW, P("file"), OUTSIDE));
  faults(path_filestat_set_times(ROOT, NOFOLLOW, OUTSIDE, 4, 0, 0, MTIM));
  faults(path_link(ROOT, NOFOLLOW, OUTSIDE, 4, ROOT, P("new")));
  faults(path_link(ROOT, NOFOLLOW, P("file"), ROOT, OUTSIDE, 4));
  faults(path_open(ROOT, NOFOLLOW, OUTSIDE, 4, CREAT, R_READ, 0, 0, &word));
  faults(path_open(ROOT, NOFOLLOW, P("new"), CREAT, R_READ, 0, 0, OUTSIDE));
  faults(path_readlink(ROOT, OUTSIDE, 4, bytes, 4, &word));
  ok(path_symlink(P("file"), ROOT, P("link")));
  faults(path_readlink(ROOT, P("link"), OUTSIDE, 4, &word));
  faults(path_readlink(ROOT, P("link"), bytes, 4, OUTSIDE));
  faults(path_remove_directory(ROOT, OUTSIDE, 4));
  faults(path_rename(ROOT, OUTSIDE, 4, ROOT, P("new")));
  faults(path_rename(ROOT, P("file"), ROOT, OUTSIDE, 4));
  faults(path_symlink(OUTSIDE, 4, ROOT, P("new")));
  faults(path_symlink(P("file"), ROOT, OUTSIDE, 4));
  faults(path_unlink_file(ROOT, OUTSIDE, 4));
  faults(poll_oneoff(OUTSIDE, &event, 1, &word));
  faults(poll_oneoff(&wait, OUTSIDE, 1, &word));
  faults(poll_oneoff(&wait, &event, 1, OUTSIDE));
  faults(poll_oneoff(&wait, &event, 0x10000000, &word));
  // A descriptor that is not there is said to be so first.
  is(fd_tell(99, bytes), BADF);
  is(seek(file, 0, CUR), 0);
  is(stat_fd(file).size, 3);
  holds(!exists("new"));
  // An empty range may begin where memory ends.
  char *end = (char *)(__builtin_wasm_memory_size(0) << 16);
  ok(random_get(end, 0));
  faults(random_get(end, 1));
  ok(random_get(end - 1, 1));
  ok(fd_tell(file, end - 8));
  faults(fd_tell(file, end - 7));
}
