/* Opens files in a directory that belongs to another user, or whose owner may be compromised: a
 * name there may be a symbolic link that leads elsewhere, a pipe that blocks its reader, or a file
 * larger than memory. */
#ifndef COMMON_FILE_H
#define COMMON_FILE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"

/* The errno when a file is refused for what it is, until somebody changes it. */
#define FILE_REFUSED ELOOP

/* Opens a file in this directory without blocking: a regular file, not a symbolic link, of at most
 * `max_bytes` and without other hard links. Its owner must be that of the directory, or the user of
 * this process unless that is root. -1 with the reason (without the name) and errno. */
MUST_USE int file_open(int directory, const char *name, int flags, uint64_t max_bytes,
                       struct failure *failure);

/* The same, to read what an operator or Kubernetes has put there: root may own it, and symbolic
 * links may lead to it if they stay below the directory. On a read-only file system it may have any
 * owner and any number of hard links. */
MUST_USE int file_open_given(int directory, const char *name, uint64_t max_bytes,
                             struct failure *failure);

/* Opens a subdirectory of this directory; does not follow a symbolic link. */
MUST_USE int file_open_directory(int directory, const char *name, struct failure *failure);

/* Reads up to `length` bytes, fewer only at the end of the file; `*done` is their number. False
 * with errno. */
MUST_USE bool file_read(int fd, char *bytes, size_t length, size_t *done);

/* Writes all of it. False with errno; a part may have been written. */
MUST_USE bool file_write(int fd, const char *bytes, size_t length);

/* Syncs the names in a directory. File systems that cannot do so (some FUSE, network and Windows
 * host ones) count as synced. False with errno. */
MUST_USE bool file_sync_directory(int directory);

/* Whether `name` still refers to this file. */
MUST_USE bool file_is_at(int fd, int directory, const char *name);

struct file_lines {
    uint64_t count; /* complete lines */
    uint64_t bytes; /* of the complete lines */
    uint64_t size;  /* of everything read; the rest is an incomplete line */
};

/* Reads from the current offset to the end of the file. False with errno: EFBIG past `max_bytes`,
 * since the file may be growing. */
MUST_USE bool file_count_lines(int fd, uint64_t max_bytes, struct file_lines *lines);

#endif
