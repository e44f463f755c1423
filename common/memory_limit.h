/* How much memory this process may use. */
#ifndef COMMON_MEMORY_LIMIT_H
#define COMMON_MEMORY_LIMIT_H

#include <stdint.h>

/* Bytes: the machine's memory, or the least limit of a cgroup that the process is in. */
uint64_t memory_limit(void);

/* The least limit of the cgroups that are listed in `list` (/proc/self/cgroup), whose hierarchies
 * are below `mounts` (/sys/fs/cgroup); UINT64_MAX: none. */
uint64_t memory_limit_of_cgroups(const char *list, const char *mounts);

#endif
