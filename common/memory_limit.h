/* How much memory this process may use. */
#ifndef COMMON_MEMORY_LIMIT_H
#define COMMON_MEMORY_LIMIT_H

#include <stdint.h>

/* Bytes: the machine's memory or the lowest limit of the process's cgroups, whichever is less. */
uint64_t memory_limit(void);

/* The lowest limit of the cgroups listed in `list` (/proc/self/cgroup), whose hierarchies are below
 * `mounts` (/sys/fs/cgroup); UINT64_MAX: none. */
uint64_t memory_limit_of_cgroups(const char *list, const char *mounts);

#endif
