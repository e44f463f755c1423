"""A wall clock that a test sets."""

import os
import subprocess

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

/* The wall clock is ahead by as many seconds as a file has bytes. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    struct stat status;

    if (clock == CLOCK_REALTIME && stat(getenv("AHEAD"), &status) == 0)
        now->tv_sec += status.st_size;
    return result;
}
"""


class Clock:
    """jotd(…, environ=clock.environ) runs by this clock."""

    def __init__(self, directory):
        self.ahead = directory / "ahead"
        self.ahead.touch()
        source, library = directory / "clock.c", directory / "clock.so"
        source.write_text(SOURCE)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        self.environ = {"LD_PRELOAD": str(library), "AHEAD": str(self.ahead),
                        "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def set_ahead(self, seconds):
        os.truncate(self.ahead, seconds)
