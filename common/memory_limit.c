#include "common/memory_limit.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* UINT64_MAX when the file does not exist or has no number in it (`max`). */
static uint64_t read_limit(const char *path)
{
    FILE *file = fopen(path, "re");
    uint64_t limit;

    if (file == NULL)
        return UINT64_MAX;
    if (fscanf(file, "%" SCNu64, &limit) != 1)
        limit = UINT64_MAX;
    fclose(file);
    return limit;
}

/* The lowest limit of a cgroup and its ancestors. In a container the mount may be its own cgroup
 * while the path is the host's: walking up to the mount still finds it. */
static uint64_t least_limit(const char *mount, const char *cgroup, const char *file)
{
    uint64_t least = UINT64_MAX;
    char directory[4096], path[4352];
    char *slash;
    size_t stem = strlen(mount);

    if ((size_t)snprintf(directory, sizeof(directory), "%s%s", mount, cgroup) >= sizeof(directory))
        return least;
    for (;;) {
        uint64_t limit;

        snprintf(path, sizeof(path), "%s/%s", directory, file);
        limit = read_limit(path);
        least = limit < least ? limit : least;
        if ((slash = strrchr(directory + stem, '/')) == NULL)
            return least;
        *slash = '\0';
    }
}

static bool has_memory(const char *controllers)
{
    size_t length;

    for (; *controllers != '\0'; controllers += length + (controllers[length] == ',')) {
        length = strcspn(controllers, ",");
        if (length == 6 && memcmp(controllers, "memory", length) == 0)
            return true;
    }
    return false;
}

/* A line is `number:controllers:path`; version 2 has no controllers. */
static uint64_t limit_of_line(char *line, const char *mounts)
{
    char *controllers = strchr(line, ':'), *path = NULL, mount[1024];

    line[strcspn(line, "\n")] = '\0';
    if (controllers != NULL)
        path = strchr(++controllers, ':');
    if (path == NULL)
        return UINT64_MAX;
    *path++ = '\0';
    snprintf(mount, sizeof(mount), "%s/memory", mounts);
    if (*controllers == '\0')
        return least_limit(mounts, path, "memory.max");
    return has_memory(controllers) ? least_limit(mount, path, "memory.limit_in_bytes") : UINT64_MAX;
}

uint64_t memory_limit_of_cgroups(const char *list, const char *mounts)
{
    FILE *file = fopen(list, "re");
    uint64_t least = UINT64_MAX;
    char *line = NULL;
    size_t capacity = 0;

    if (file == NULL)
        return least;
    while (getline(&line, &capacity, file) != -1) {
        uint64_t limit = limit_of_line(line, mounts);

        least = limit < least ? limit : least;
    }
    free(line);
    fclose(file);
    return least;
}

uint64_t memory_limit(void)
{
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t cgroups = memory_limit_of_cgroups("/proc/self/cgroup", "/sys/fs/cgroup");

    return cgroups < machine ? cgroups : machine;
}
