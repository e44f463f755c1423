#include "common/prometheus.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void prometheus_family(struct buffer *text, const char *name, const char *type, const char *help)
{
    buffer_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void prometheus_value(struct buffer *text, const char *name, const char *labels, uint64_t value)
{
    if (*labels != '\0')
        buffer_printf(text, "%s{%s} %" PRIu64 "\n", name, labels, value);
    else
        buffer_printf(text, "%s %" PRIu64 "\n", name, value);
}

void prometheus_histogram(struct buffer *text, const char *name, const char *labels,
                          const struct histogram *histogram)
{
    const char *comma = *labels != '\0' ? "," : "", *open = *labels != '\0' ? "{" : "",
               *close = *labels != '\0' ? "}" : "";
    uint64_t count = 0;

    for (size_t i = 0; i != HISTOGRAM_BUCKETS; ++i) {
        count += counter_read(&histogram->buckets[i]);
        buffer_printf(text, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, labels, comma,
                      histogram_bounds_us[i] / 1e6, count);
    }
    count += counter_read(&histogram->buckets[HISTOGRAM_BUCKETS]);
    buffer_printf(text, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, count);
    buffer_printf(text, "%s_sum%s%s%s %.6f\n", name, open, labels, close,
                  (double)counter_read(&histogram->sum_us) / 1e6);
    buffer_printf(text, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, count);
}

static _Atomic uint64_t descriptor_count;
static _Atomic int64_t start_unix_ms;

/* Since 6.2 Linux reports the number as the size of the directory; before, the entries have to be
 * counted, at 1 us each. */
static uint64_t count_descriptors(void)
{
    struct stat status;
    DIR *directory;
    uint64_t count = 0;

    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
        return (uint64_t)status.st_size;
    if ((directory = opendir("/proc/self/fd")) == NULL)
        return 0;
    while (readdir(directory) != NULL)
        ++count;
    closedir(directory);
    return count - 3; /* ., .. and the directory itself */
}

/* When the process started, in Unix seconds: the boot time plus field 22 of its stat. */
static double start_time(void)
{
    char stat[1024] = "";
    FILE *file = fopen("/proc/self/stat", "re");
    const char *field;
    unsigned long long ticks = 0;
    struct timespec boot, now;

    if (file == NULL)
        return 0;
    field = fgets(stat, sizeof(stat), file) != NULL ? strrchr(stat, ')') : NULL;
    fclose(file);
    /* The name in parentheses may contain anything; field 3 follows it. */
    for (int i = 2; field != NULL && i != 22; ++i)
        field = strchr(field + 1, ' ');
    if (field == NULL || sscanf(field, "%llu", &ticks) != 1)
        return 0;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)(now.tv_sec - boot.tv_sec) + (double)(now.tv_nsec - boot.tv_nsec) / 1e9 +
           (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void prometheus_process_update(void)
{
    atomic_store(&descriptor_count, count_descriptors());
    if (atomic_load(&start_unix_ms) == 0)
        atomic_store(&start_unix_ms, (int64_t)(start_time() * 1e3));
}

void prometheus_process(struct buffer *text)
{
    struct rusage usage;
    struct rlimit descriptors;
    unsigned long long virtual_pages = 0, resident_pages = 0;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    FILE *statm = fopen("/proc/self/statm", "re");

    if (statm != NULL) {
        if (fscanf(statm, "%llu %llu", &virtual_pages, &resident_pages) != 2)
            virtual_pages = resident_pages = 0;
        fclose(statm);
    }
    getrusage(RUSAGE_SELF, &usage);
    getrlimit(RLIMIT_NOFILE, &descriptors);

    prometheus_family(text, "process_cpu_seconds_total", "counter",
                      "Total user and system CPU time spent in seconds.");
    buffer_printf(text, "process_cpu_seconds_total %.6f\n",
                  (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    prometheus_family(text, "process_open_fds", "gauge", "Number of open file descriptors.");
    prometheus_value(text, "process_open_fds", "", atomic_load(&descriptor_count));
    prometheus_family(text, "process_max_fds", "gauge", "Maximum number of open file descriptors.");
    prometheus_value(text, "process_max_fds", "", descriptors.rlim_cur);
    prometheus_family(text, "process_virtual_memory_bytes", "gauge",
                      "Virtual memory size in bytes.");
    prometheus_value(text, "process_virtual_memory_bytes", "", virtual_pages * page);
    prometheus_family(text, "process_resident_memory_bytes", "gauge",
                      "Resident memory size in bytes.");
    prometheus_value(text, "process_resident_memory_bytes", "", resident_pages * page);
    prometheus_family(text, "process_start_time_seconds", "gauge",
                      "Start time of the process since unix epoch in seconds.");
    buffer_printf(text, "process_start_time_seconds %.3f\n",
                  (double)atomic_load(&start_unix_ms) / 1e3);
}
