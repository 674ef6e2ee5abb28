/* For programs that jump only to report an error: WASI has setjmp only on top of exceptions, so an error ends here. */
#ifndef SETJMP_H
#define SETJMP_H

#include <stdlib.h>

typedef int jmp_buf[1];

static inline int setjmp(jmp_buf unused)
{
    (void)unused;
    return 0;
}

static inline _Noreturn void longjmp(jmp_buf unused, int value)
{
    (void)unused;
    (void)value;
    exit(70);
}

#endif
