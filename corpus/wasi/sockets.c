// Sockets: no descriptor is one.
#include "wasi.h"

PROGRAM {
  create("file", "text");
  fd_t file = open_file("file", 0);
  const fd_t fds[] = {0, 1, 2, ROOT, file, 77, 0xffffffff};
  for (int i = 0; i < 7; i++) {
    uint32_t expected = i < 5 ? NOTSOCK : BADF;
    char bytes[4];
    buffer_t buffer = {bytes, sizeof bytes};
    uint32_t size, flags;
    fd_t fd;
    for (uint32_t how = 1; how <= 3; how++) is(sock_shutdown(fds[i], how), expected);
    is(sock_accept(fds[i], 0, &fd), expected);
    is(sock_accept(fds[i], NONBLOCK, &fd), expected);
    is(sock_recv(fds[i], &buffer, 1, 0, &size, &flags), expected);
    is(sock_send(fds[i], &buffer, 1, 0, &size), expected);
  }
  read_is(file, 9, "text");
}
