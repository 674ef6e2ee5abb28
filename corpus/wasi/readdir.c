// Entries of a directory: itself and its parent first, kinds and inode numbers as elsewhere, cookies that lead on.
//@ elsewhere = "inode numbers are those of another host"
#include "entries.h"

PROGRAM {
  mkdir("dir");
  fd_t dir = open_dir("dir");
  is(list(dir, 256, 0, ENTRIES_MAX), 2);
  is(strcmp(entries[0].name, "."), 0);
  is(strcmp(entries[1].name, ".."), 0);
  is(entries[0].record.type, DIRECTORY);
  is(entries[1].record.type, DIRECTORY);
  is(entries[0].record.inode, stat_fd(dir).inode);

  create_at(__LINE__, dir, "file", "");
  ok(path_create_directory(dir, P("sub")));
  ok(path_symlink(P("file"), dir, P("link")));
  // Beginning anew sees them.
  uint32_t count = list(dir, 256, 0, ENTRIES_MAX);
  is(count, 5);
  is(entry(count, "file")->record.type, REGULAR_FILE);
  is(entry(count, "file")->record.inode, stat_path("dir/file").inode);
  is(entry(count, "sub")->record.type, DIRECTORY);
  is(entry(count, "sub")->record.inode, stat_path("dir/sub").inode);
  is(entry(count, "link")->record.type, SYMBOLIC_LINK);
  is(entry(count, "link")->record.inode, stat_path("dir/link").inode);
  is(entry(count, ".")->record.inode, stat_path("dir").inode);
  // Every cookie leads to the entry behind it, in whatever order they are tried.
  static entry_t all[5];
  memcpy(all, entries, sizeof all);
  for (int i = 4; i >= 0; i--) {
    uint32_t rest = list(dir, 128, all[i].record.next, ENTRIES_MAX);
    is(rest, 4 - i);
    for (uint32_t j = 0; j < rest; j++) is(strcmp(entries[j].name, all[i + 1 + j].name), 0);
  }
  is(list(dir, 256, all[1].record.next, 1), 1);
  is(strcmp(entries[0].name, all[2].name), 0);
  // An entry that does not fit is cut off, and less than a record says nothing.
  char few[30];
  uint32_t used = 0;
  memset(few, '!', sizeof few);
  ok(fd_readdir(dir, few, 26, 0, &used));
  is(used, 26);
  is(few[24], '.');
  is(few[26], '!');
  ok(fd_readdir(dir, few, 10, 0, &used));
  is(used, 10);
  ok(fd_readdir(dir, few, 0, 0, &used));
  is(used, 0);

  fd_t file = open_file("dir/file", 0);
  differs(fd_readdir(file, few, 30, 0, &used), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");
  differs(fd_readdir(1, few, 30, 0, &used), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");
  is(fd_readdir(99, few, 30, 0, &used), BADF);
  // Another descriptor of the same directory reads for itself.
  fd_t other = open_with("dir", O_DIRECTORY, R_READDIR, 0);
  is(list(dir, 256, 0, 3), 3);
  is(list(other, 256, 0, ENTRIES_MAX), 5);
  is(list(dir, 256, all[2].record.next, ENTRIES_MAX), 2);
}
