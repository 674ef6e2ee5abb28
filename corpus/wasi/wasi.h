// What the programs of this directory share: WASI preview 1 as it is imported, and checks that say where they fail.
//
// A program calls WASI directly, so that it imports and calls nothing but what it is about. It tells every check that
// does not hold, and ends with status 1 then. `is(call, value)` checks an answer. All programs are checked with wasmtime:
// `differs(call, ours, theirs, why)` is for the few places where wasm-migrate deliberately answers otherwise,
// `ends(call, ours, why)` for those where wasmtime ends the program. The runner sets `oracle` in the module for wasmtime.
#pragma once
#include <stdint.h>
#include <string.h>

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
#define PROGRAM \
  static void program(void); \
  __attribute__((export_name("_start"))) void _start(void) { \
    program(); \
    if (failures) proc_exit(1); \
  } \
  static void program(void)

typedef uint32_t fd_t;
typedef struct { const void *data; uint32_t size; } buffer_t;
typedef struct { uint8_t type; uint16_t flags; uint64_t base, inheriting; } fdstat_t;
typedef struct { uint64_t device, inode; uint8_t type; uint64_t links, size, accessed, modified, changed; } filestat_t;
typedef struct { uint64_t next, inode; uint32_t name_size; uint8_t type; } dirent_t;
typedef struct { uint32_t tag, name_size; } prestat_t;
typedef struct {
  uint64_t userdata;
  uint8_t kind;
  union {
    struct { uint32_t id; uint64_t timeout, precision; uint16_t flags; } clock;
    fd_t fd;
  };
} subscription_t;
typedef struct { uint64_t userdata; uint16_t error; uint8_t kind; uint64_t bytes; uint16_t flags; } event_t;

_Static_assert(sizeof(fdstat_t) == 24 && sizeof(filestat_t) == 64 && sizeof(dirent_t) == 24, "as in the interface");
_Static_assert(sizeof(subscription_t) == 48 && sizeof(event_t) == 32, "as in the interface");

// All functions answer an error number.
IMPORT(args_get) uint32_t args_get(void *pointers, void *bytes);
IMPORT(args_sizes_get) uint32_t args_sizes_get(void *count, void *size);
IMPORT(environ_get) uint32_t environ_get(void *pointers, void *bytes);
IMPORT(environ_sizes_get) uint32_t environ_sizes_get(void *count, void *size);
IMPORT(clock_res_get) uint32_t clock_res_get(uint32_t clock, void *time);
IMPORT(clock_time_get) uint32_t clock_time_get(uint32_t clock, uint64_t precision, void *time);
IMPORT(fd_advise) uint32_t fd_advise(fd_t, uint64_t offset, uint64_t size, uint32_t advice);
IMPORT(fd_allocate) uint32_t fd_allocate(fd_t, uint64_t offset, uint64_t size);
IMPORT(fd_close) uint32_t fd_close(fd_t);
IMPORT(fd_datasync) uint32_t fd_datasync(fd_t);
IMPORT(fd_fdstat_get) uint32_t fd_fdstat_get(fd_t, void *fdstat);
IMPORT(fd_fdstat_set_flags) uint32_t fd_fdstat_set_flags(fd_t, uint32_t flags);
IMPORT(fd_fdstat_set_rights) uint32_t fd_fdstat_set_rights(fd_t, uint64_t base, uint64_t inheriting);
IMPORT(fd_filestat_get) uint32_t fd_filestat_get(fd_t, void *filestat);
IMPORT(fd_filestat_set_size) uint32_t fd_filestat_set_size(fd_t, uint64_t size);
IMPORT(fd_filestat_set_times) uint32_t fd_filestat_set_times(fd_t, uint64_t accessed, uint64_t modified, uint32_t flags);
IMPORT(fd_pread) uint32_t fd_pread(fd_t, const void *buffers, uint32_t count, uint64_t offset, void *size);
IMPORT(fd_prestat_get) uint32_t fd_prestat_get(fd_t, void *prestat);
IMPORT(fd_prestat_dir_name) uint32_t fd_prestat_dir_name(fd_t, void *name, uint32_t size);
IMPORT(fd_pwrite) uint32_t fd_pwrite(fd_t, const void *buffers, uint32_t count, uint64_t offset, void *size);
IMPORT(fd_read) uint32_t fd_read(fd_t, const void *buffers, uint32_t count, void *size);
IMPORT(fd_readdir) uint32_t fd_readdir(fd_t, void *entries, uint32_t size, uint64_t cookie, void *used);
IMPORT(fd_renumber) uint32_t fd_renumber(fd_t from, fd_t to);
IMPORT(fd_seek) uint32_t fd_seek(fd_t, int64_t offset, uint32_t whence, void *position);
IMPORT(fd_sync) uint32_t fd_sync(fd_t);
IMPORT(fd_tell) uint32_t fd_tell(fd_t, void *position);
IMPORT(fd_write) uint32_t fd_write(fd_t, const void *buffers, uint32_t count, void *size);
IMPORT(path_create_directory) uint32_t path_create_directory(fd_t, const void *path, uint32_t size);
IMPORT(path_filestat_get)
uint32_t path_filestat_get(fd_t, uint32_t lookup, const void *path, uint32_t size, void *filestat);
IMPORT(path_filestat_set_times)
uint32_t path_filestat_set_times(fd_t, uint32_t lookup, const void *path, uint32_t size, uint64_t accessed,
                                 uint64_t modified, uint32_t flags);
IMPORT(path_link)
uint32_t path_link(fd_t, uint32_t lookup, const void *old, uint32_t old_size, fd_t, const void *new, uint32_t new_size);
IMPORT(path_open)
uint32_t path_open(fd_t, uint32_t lookup, const void *path, uint32_t size, uint32_t oflags, uint64_t base,
                   uint64_t inheriting, uint32_t flags, void *fd);
IMPORT(path_readlink)
uint32_t path_readlink(fd_t, const void *path, uint32_t size, void *target, uint32_t target_size, void *used);
IMPORT(path_remove_directory) uint32_t path_remove_directory(fd_t, const void *path, uint32_t size);
IMPORT(path_rename)
uint32_t path_rename(fd_t, const void *old, uint32_t old_size, fd_t, const void *new, uint32_t new_size);
IMPORT(path_symlink)
uint32_t path_symlink(const void *target, uint32_t target_size, fd_t, const void *path, uint32_t size);
IMPORT(path_unlink_file) uint32_t path_unlink_file(fd_t, const void *path, uint32_t size);
IMPORT(poll_oneoff) uint32_t poll_oneoff(const void *subscriptions, void *events, uint32_t count, void *happened);
IMPORT(proc_exit) _Noreturn void proc_exit(uint32_t status);
IMPORT(proc_raise) uint32_t proc_raise(uint32_t signal);
IMPORT(random_get) uint32_t random_get(void *bytes, uint32_t size);
IMPORT(sched_yield) uint32_t sched_yield(void);
IMPORT(sock_accept) uint32_t sock_accept(fd_t, uint32_t flags, void *fd);
IMPORT(sock_recv)
uint32_t sock_recv(fd_t, const void *buffers, uint32_t count, uint32_t flags, void *size, void *out_flags);
IMPORT(sock_send) uint32_t sock_send(fd_t, const void *buffers, uint32_t count, uint32_t flags, void *size);
IMPORT(sock_shutdown) uint32_t sock_shutdown(fd_t, uint32_t how);

enum {
  OK = 0, AGAIN = 6, BADF = 8, EXIST = 20, FAULT = 21, FBIG = 22, ILSEQ = 25, INVAL = 28, ISDIR = 31, LOOP = 32,
  NAMETOOLONG = 37, NOENT = 44, NOTDIR = 54, NOTEMPTY = 55, NOTSOCK = 57, NOTSUP = 58, PERM = 63, PIPE = 64, SPIPE = 70,
  XDEV = 75, NOTCAPABLE = 76,
};
enum { BLOCK_DEVICE = 1, CHARACTER_DEVICE, DIRECTORY, REGULAR_FILE, SYMBOLIC_LINK = 7 };
enum { APPEND = 1, DSYNC = 2, NONBLOCK = 4, RSYNC = 8, SYNC = 16 };
enum { CREAT = 1, O_DIRECTORY = 2, EXCL = 4, TRUNC = 8 };
enum { NOFOLLOW = 0, FOLLOW = 1 };
enum { SET, CUR, END };
enum { ATIM = 1, ATIM_NOW = 2, MTIM = 4, MTIM_NOW = 8 };
enum { REALTIME, MONOTONIC, PROCESS_CPU, THREAD_CPU };
enum { ON_CLOCK, ON_READ, ON_WRITE };
enum { ABSOLUTE = 1 };

#define RIGHT(bit) (UINT64_C(1) << (bit))
#define R_DATASYNC RIGHT(0)
#define R_READ RIGHT(1)
#define R_SEEK RIGHT(2)
#define R_SET_FLAGS RIGHT(3)
#define R_SYNC RIGHT(4)
#define R_TELL RIGHT(5)
#define R_WRITE RIGHT(6)
#define R_ADVISE RIGHT(7)
#define R_ALLOCATE RIGHT(8)
#define R_CREATE_DIRECTORY RIGHT(9)
#define R_CREATE_FILE RIGHT(10)
#define R_LINK_SOURCE RIGHT(11)
#define R_LINK_TARGET RIGHT(12)
#define R_OPEN RIGHT(13)
#define R_READDIR RIGHT(14)
#define R_READLINK RIGHT(15)
#define R_RENAME_SOURCE RIGHT(16)
#define R_RENAME_TARGET RIGHT(17)
#define R_PATH_FILESTAT_GET RIGHT(18)
#define R_PATH_SET_SIZE RIGHT(19)
#define R_PATH_SET_TIMES RIGHT(20)
#define R_FILESTAT_GET RIGHT(21)
#define R_SET_SIZE RIGHT(22)
#define R_SET_TIMES RIGHT(23)
#define R_SYMLINK RIGHT(24)
#define R_REMOVE_DIRECTORY RIGHT(25)
#define R_UNLINK RIGHT(26)
#define R_POLL RIGHT(27)
#define R_FILE \
  (R_DATASYNC | R_READ | R_SEEK | R_SET_FLAGS | R_SYNC | R_TELL | R_WRITE | R_ADVISE | R_ALLOCATE | R_FILESTAT_GET | \
   R_SET_SIZE | R_SET_TIMES | R_POLL)
#define R_DIRECTORY \
  (R_DATASYNC | R_SYNC | R_SET_FLAGS | R_CREATE_DIRECTORY | R_CREATE_FILE | R_LINK_SOURCE | R_LINK_TARGET | R_OPEN | \
   R_READDIR | R_READLINK | R_RENAME_SOURCE | R_RENAME_TARGET | R_PATH_FILESTAT_GET | R_PATH_SET_SIZE | \
   R_PATH_SET_TIMES | R_FILESTAT_GET | R_SET_TIMES | R_SYMLINK | R_REMOVE_DIRECTORY | R_UNLINK | R_POLL)

// The first preopened directory, and a pointer that leads out of memory.
enum { ROOT = 3 };
#define OUTSIDE ((void *)0xffffffff)
// A path as its pointer and length.
#define P(path) path, sizeof(path) - 1

// Says whether another runtime is being checked. The runner looks for these bytes.
static volatile const char oracle_marker[] = "conformance oracle=0";
static inline int is_oracle(void) { return oracle_marker[sizeof oracle_marker - 2] == '1'; }

static inline void say(const char *text) {
  buffer_t buffer = {text, strlen(text)};
  uint32_t size;
  fd_write(2, &buffer, 1, &size);
}

static inline void say_number(uint64_t number) {
  char digits[21];
  char *at = digits + sizeof digits;
  for (*--at = 0; at == digits + sizeof digits - 1 || number; number /= 10) *--at = '0' + number % 10;
  say(at);
}

enum { FAILURES_MAX = 40 };
static int failures;

__attribute__((noinline)) static void fail(int line, const char *what, uint64_t found, uint64_t expected) {
  say("line ");
  say_number(line);
  say(": `");
  say(what);
  say("` is ");
  say_number(found);
  say(", expected ");
  say_number(expected);
  say("\n");
  if (++failures == FAILURES_MAX) proc_exit(1);
}

#define is(call, value) \
  do { \
    uint64_t found_ = (uint64_t)(call), expected_ = (uint64_t)(value); \
    if (found_ != expected_) fail(__LINE__, #call, found_, expected_); \
  } while (0)
#define ok(call) is(call, OK)
#define holds(condition) is(!!(condition), 1)
#define differs(call, ours, theirs, why) is(call, is_oracle() ? (theirs) : (ours))
#define ends(call, ours, why) \
  do { \
    if (!is_oracle()) is(call, ours); \
  } while (0)

// Opens a path below a directory with these rights.
static inline fd_t open_at(int line, fd_t dir, const char *path, uint32_t oflags, uint64_t rights, uint32_t flags) {
  fd_t fd = 0xffffffff;
  uint64_t inherited = oflags & O_DIRECTORY ? R_DIRECTORY | R_FILE : 0;
  uint32_t error = path_open(dir, NOFOLLOW, path, strlen(path), oflags, rights, inherited, flags, &fd);
  if (error) fail(line, path, error, OK);
  return fd;
}
#define open_with(path, oflags, rights, flags) open_at(__LINE__, ROOT, path, oflags, rights, flags)
#define open_file(path, oflags) open_with(path, oflags, R_FILE, 0)
#define open_dir(path) open_with(path, O_DIRECTORY, R_DIRECTORY, 0)
// The error with which a path is not opened.
#define open_error(dir, lookup, path, oflags, rights) \
  ({ fd_t fd_ = 0; path_open(dir, lookup, P(path), oflags, rights, 0, 0, &fd_); })

static inline uint32_t write_bytes(int line, fd_t fd, const void *data, uint32_t size) {
  buffer_t buffer = {data, size};
  uint32_t written = 0, error = fd_write(fd, &buffer, 1, &written);
  if (error) fail(line, "fd_write", error, OK);
  return written;
}
#define write_text(fd, text) is(write_bytes(__LINE__, fd, text, strlen(text)), strlen(text))

// What one read brings, as the text of so many bytes.
static inline const char *read_bytes(int line, fd_t fd, uint32_t size) {
  static char bytes[4097];
  buffer_t buffer = {bytes, size < sizeof bytes ? size : sizeof bytes - 1};
  uint32_t got = 0, error = fd_read(fd, &buffer, 1, &got);
  if (error) fail(line, "fd_read", error, OK);
  bytes[got] = 0;
  return bytes;
}
#define read_is(fd, size, text) is(strcmp(read_bytes(__LINE__, fd, size), text), 0)

// The error of a read or write of one byte.
static inline uint32_t read_error(fd_t fd) {
  char byte;
  buffer_t buffer = {&byte, 1};
  uint32_t size;
  return fd_read(fd, &buffer, 1, &size);
}
static inline uint32_t write_error(fd_t fd) {
  buffer_t buffer = {"x", 1};
  uint32_t size;
  return fd_write(fd, &buffer, 1, &size);
}

static inline uint64_t seek_to(int line, fd_t fd, int64_t offset, uint32_t whence) {
  uint64_t position = 0;
  uint32_t error = fd_seek(fd, offset, whence, &position);
  if (error) fail(line, "fd_seek", error, OK);
  return position;
}
#define seek(fd, offset, whence) seek_to(__LINE__, fd, offset, whence)

static inline filestat_t stat_at(int line, fd_t dir, uint32_t lookup, const char *path) {
  filestat_t stat = {0};
  uint32_t error = path_filestat_get(dir, lookup, path, strlen(path), &stat);
  if (error) fail(line, path, error, OK);
  return stat;
}
#define stat_path(path) stat_at(__LINE__, ROOT, NOFOLLOW, path)
#define exists(path) ({ filestat_t stat_; path_filestat_get(ROOT, NOFOLLOW, P(path), &stat_) == OK; })

static inline filestat_t stat_of(int line, fd_t fd) {
  filestat_t stat = {0};
  uint32_t error = fd_filestat_get(fd, &stat);
  if (error) fail(line, "fd_filestat_get", error, OK);
  return stat;
}
#define stat_fd(fd) stat_of(__LINE__, fd)

static inline fdstat_t fdstat_of(int line, fd_t fd) {
  fdstat_t stat = {0};
  uint32_t error = fd_fdstat_get(fd, &stat);
  if (error) fail(line, "fd_fdstat_get", error, OK);
  return stat;
}
#define fdstat(fd) fdstat_of(__LINE__, fd)

// Creates an empty file, or one with this text.
static inline void create_at(int line, fd_t dir, const char *path, const char *text) {
  fd_t fd = open_at(line, dir, path, CREAT, R_FILE, 0);
  if (*text) write_bytes(line, fd, text, strlen(text));
  fd_close(fd);
}
#define create(path, text) create_at(__LINE__, ROOT, path, text)
#define mkdir(path) ok(path_create_directory(ROOT, P(path)))
#define rmdir(path) ok(path_remove_directory(ROOT, P(path)))
#define unlink(path) ok(path_unlink_file(ROOT, P(path)))
