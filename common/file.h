/* Files in a directory that belongs to somebody else, or whose owner may have been taken over: what
 * stands there under a name may be a link that leads away, a pipe that holds its reader up, or
 * larger than memory. */
#ifndef COMMON_FILE_H
#define COMMON_FILE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"

/* The errno of what is refused for what it is, and will be until somebody changes it. */
#define FILE_REFUSED ELOOP

/* Opens a file of this directory without waiting for anybody: not through a link, a regular file of
 * at most `max_bytes` with this one name, which belongs to whom the directory belongs, or to this
 * process unless that is root. -1 with the reason (without the name) and errno. */
MUST_USE int file_open(int directory, const char *name, int flags, uint64_t max_bytes,
                       struct failure *failure);

/* The same for reading what an operator has put there, or Kubernetes: it may be root's, and reached
 * by links that stay below the directory. On a file system that is mounted read-only it may be
 * anybody's, under any number of names. */
MUST_USE int file_open_given(int directory, const char *name, uint64_t max_bytes,
                             struct failure *failure);

/* Opens a directory in this directory, which is not followed either. */
MUST_USE int file_open_directory(int directory, const char *name, struct failure *failure);

/* Reads up to `length` bytes, fewer only at the end of the file; `*done` says how many. False with
 * errno. */
MUST_USE bool file_read(int fd, char *bytes, size_t length, size_t *done);

/* Writes all of it. False with errno, and then a part may be written. */
MUST_USE bool file_write(int fd, const char *bytes, size_t length);

/* Syncs the names in it; where the file system knows no such thing for directories (some of FUSE,
 * of networks, of Windows hosts), it is taken for done. False with errno. */
MUST_USE bool file_sync_directory(int directory);

/* Whether it still has this name. */
MUST_USE bool file_is_at(int fd, int directory, const char *name);

struct file_lines {
    uint64_t count; /* of whole ones */
    uint64_t bytes; /* of them */
    uint64_t size;  /* of all that was read: what is more is no whole line */
};

/* Reads from where the file stands to its end. False, with errno, when that does not come within
 * `max_bytes`: it may be growing. */
MUST_USE bool file_count_lines(int fd, uint64_t max_bytes, struct file_lines *lines);

#endif
