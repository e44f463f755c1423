/* `jotd ledger status`: what the spool holds. ledger_send.c has flush and retry, ledger_prune.c
 * prune. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <utlist.h>

#include "auth/command/commands.h"
#include "auth/command/ledger_spool.h"
#include "auth/command/print.h"
#include "auth/ledger/ledger_row.h"
#include "auth/settings.h"
#include "common/clock.h"
#include "common/owner.h"
#include "common/spool/spool.h"
#include "common/spool/spool_list.h"
#include "common/time_text.h"

static bool is_passed_over(const struct spool_entry *entry)
{
    return entry->passed_over.reason[0] != '\0';
}

/* In a format that this jotd does not know. */
static bool is_newer_file(const struct spool_entry *entry)
{
    return entry->newer && entry->kind > SPOOL_UNREADABLE;
}

static bool is_set_aside(const struct spool_entry *entry, enum spool_entry_kind kind)
{
    return entry->kind == kind && !entry->newer && !is_passed_over(entry);
}

static bool is_process(const struct spool_entry *entry)
{
    return entry->kind <= SPOOL_UNREADABLE && !is_passed_over(entry);
}

static const char *state_name(const struct spool_entry *entry)
{
    static const char *const names[] = {
        [SPOOL_LIVE] = "live", [SPOOL_ABANDONED] = "abandoned", [SPOOL_UNREADABLE] = "unreadable"};

    return names[entry->kind];
}

/* The clock may have been set back since. */
static int64_t age_seconds(const struct spool_entry *entry)
{
    int64_t age_ms = clock_unix_ms() - entry->oldest_unix_ms;

    return age_ms > 0 ? age_ms / 1000 : 0;
}

static json_t *process_json(const struct spool_entry *entry)
{
    bool waiting = entry->oldest_unix_ms != 0;
    char oldest[TIME_TEXT_SIZE];

    if (entry->kind == SPOOL_UNREADABLE)
        return json_pack("{s:s, s:s, s:n, s:n, s:n, s:n, s:n}", "process", entry->name, "state",
                         state_name(entry), "segments", "rows", "bytes", "oldest", "age_seconds");
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s?, s:o}", "process", entry->name, "state",
                     state_name(entry), "segments", (json_int_t)entry->segments, "rows",
                     (json_int_t)entry->rows, "bytes", (json_int_t)entry->bytes, "oldest",
                     waiting ? time_text_format(entry->oldest_unix_ms, oldest) : NULL,
                     "age_seconds", waiting ? json_integer(age_seconds(entry)) : json_null());
}

static json_t *set_aside_json(const struct spool_entry *entries, enum spool_entry_kind kind)
{
    const struct spool_entry *entry;
    json_t *files = json_array();
    json_int_t rows = 0, bytes = 0;

    DL_FOREACH (entries, entry) {
        if (!is_set_aside(entry, kind))
            continue;
        rows += (json_int_t)entry->rows;
        bytes += (json_int_t)entry->bytes;
        json_array_append_new(files, json_pack("{s:s, s:I, s:I}", "name", entry->name, "rows",
                                               (json_int_t)entry->rows, "bytes",
                                               (json_int_t)entry->bytes));
    }
    return json_pack("{s:I, s:I, s:o}", "rows", rows, "bytes", bytes, "files", files);
}

static json_t *passed_over_json(const struct spool_entry *entries)
{
    const struct spool_entry *entry;
    json_t *files = json_array();

    DL_FOREACH (entries, entry) {
        if (is_passed_over(entry))
            json_array_append_new(files, json_pack("{s:s, s:s}", "name", entry->name, "reason",
                                                   entry->passed_over.reason));
    }
    return files;
}

static json_t *newer_json(const struct spool_entry *entries)
{
    const struct spool_entry *entry;
    json_t *files = json_array();

    DL_FOREACH (entries, entry) {
        if (is_newer_file(entry))
            json_array_append_new(files, json_pack("{s:s, s:i}", "name", entry->name, "format",
                                                   (int)entry->format));
    }
    return files;
}

static bool print_status_json(const char *base, const struct spool_entry *entries,
                              struct failure *failure)
{
    const struct spool_entry *entry;
    json_t *processes = json_array();

    DL_FOREACH (entries, entry) {
        if (is_process(entry))
            json_array_append_new(processes, process_json(entry));
    }
    return print_json(json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "spool", base, "processes",
                                processes, "rejected", set_aside_json(entries, SPOOL_REJECTED),
                                "expired", set_aside_json(entries, SPOOL_EXPIRED), "passed_over",
                                passed_over_json(entries), "newer", newer_json(entries)),
                      failure);
}

static void print_processes(const struct spool_entry *entries)
{
    const struct spool_entry *entry;
    char oldest[TIME_TEXT_SIZE];

    printf("%-36s  %-10s  %8s  %9s  %11s  %-20s  %s\n", "process", "state", "segments", "rows",
           "bytes", "oldest", "age_seconds");
    DL_FOREACH (entries, entry) {
        if (!is_process(entry))
            continue;
        if (entry->kind == SPOOL_UNREADABLE) {
            printf("%-36s  %-10s  %8s  %9s  %11s  %-20s  -\n", entry->name, state_name(entry), "-",
                   "-", "-", "-");
            continue;
        }
        printf("%-36s  %-10s  %8" PRIu64 "  %9" PRIu64 "  %11" PRIu64, entry->name,
               state_name(entry), entry->segments, entry->rows, entry->bytes);
        if (entry->oldest_unix_ms == 0)
            printf("  %-20s  -\n", "-");
        else
            printf("  %-20s  %" PRId64 "\n", time_text_format(entry->oldest_unix_ms, oldest),
                   age_seconds(entry));
    }
}

static void print_set_aside(const struct spool_entry *entries, enum spool_entry_kind kind,
                            const char *name)
{
    const struct spool_entry *entry;
    uint64_t files = 0, rows = 0, bytes = 0;

    DL_FOREACH (entries, entry) {
        if (!is_set_aside(entry, kind))
            continue;
        ++files;
        rows += entry->rows;
        bytes += entry->bytes;
    }
    printf("%s: %" PRIu64 " files, %" PRIu64 " rows, %" PRIu64 " bytes\n", name, files, rows,
           bytes);
    DL_FOREACH (entries, entry) {
        if (is_set_aside(entry, kind))
            printf("  %s  %" PRIu64 " rows, %" PRIu64 " bytes\n", entry->name, entry->rows,
                   entry->bytes);
    }
}

static void print_passed_over(const struct spool_entry *entries)
{
    const struct spool_entry *entry;
    uint64_t files = 0;

    DL_FOREACH (entries, entry)
        files += is_passed_over(entry);
    printf("passed over: %" PRIu64 " files\n", files);
    DL_FOREACH (entries, entry) {
        if (is_passed_over(entry))
            printf("  %s  %s\n", entry->name, entry->passed_over.reason);
    }
}

static void print_newer(const struct spool_entry *entries)
{
    const struct spool_entry *entry;
    uint64_t files = 0;

    DL_FOREACH (entries, entry)
        files += is_newer_file(entry);
    printf("written by a newer jotd: %" PRIu64 " files\n", files);
    DL_FOREACH (entries, entry) {
        if (is_newer_file(entry))
            printf("  %s  format %u, this jotd knows up to %u\n", entry->name, entry->format,
                   LEDGER_ROW_FORMAT);
    }
}

static bool print_status(const char *base, bool json, struct failure *failure)
{
    struct spool_entry *entries;
    bool done = ledger_spool_list(base, &entries, failure);

    if (done && json) {
        done = print_status_json(base, entries, failure);
    } else if (done) {
        print_processes(entries);
        print_set_aside(entries, SPOOL_REJECTED, "rejected");
        print_set_aside(entries, SPOOL_EXPIRED, "expired");
        print_passed_over(entries);
        print_newer(entries);
    }
    spool_list_free(entries);
    return done;
}

struct values {
    bool json;
};

static const struct cli_option options[] = {
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct values, json),
     .help = "print an object of spool, processes, rejected, expired, passed_over, newer"},
    {0},
};

static int run(const struct cli_command *command, const void *given)
{
    const struct values *values = given;
    struct settings settings;
    struct failure failure;
    int status = settings_load(&settings, SETTINGS_NEED_NOTHING, &failure) &&
                         owner_become(settings.spool_dir, &failure) &&
                         print_status(settings.spool_dir, values->json, &failure)
                     ? CLI_DONE
                     : cli_fail(&failure);

    (void)command;
    settings_dispose(&settings);
    return status;
}

static const struct cli_command command_status = {
    .path = "jotd ledger status",
    .summary = "show the rows that wait for PostgreSQL",
    .help = "Shows what JOTD_SPOOL_DIR holds: for each process the rows that wait for "
            "PostgreSQL,\n"
            "then the files of rows that were set aside. Changes nothing, and needs no "
            "database.\n"
            "States:\n"
            "\n"
            "  live        the process runs and sends its rows\n"
            "  abandoned   the process has ended; a server on this spool, or jotd ledger flush,\n"
            "              sends its rows\n"
            "  unreadable  the directory belongs to another user: run this, and jotd ledger "
            "flush,\n"
            "              as that user\n"
            "\n"
            "Set aside:\n"
            "\n"
            "  rejected   PostgreSQL refused the rows; jotd ledger retry sends them again\n"
            "  expired    too old to tell whether they were sent; jotd ledger retry --expired\n"
            "\n"
            "Passed over, with the reason: files that have such a name but cannot be used, such "
            "as\n"
            "a link, a pipe, another user's file, or one of more than 32 MiB. They are neither "
            "read\n"
            "nor removed.\n"
            "\n"
            "Written by a newer jotd: files in a format that this one does not know, which it "
            "leaves\n"
            "to a jotd of that version. They are not counted above.",
    .options = options,
    .values_size = sizeof(struct values),
    .run = run,
};

const struct cli_command command_ledger = {
    .path = "jotd ledger",
    .summary = "show, send, retry, prune the record of issued tokens",
    .commands =
        (const struct cli_command *const[]){&command_status, &command_ledger_flush,
                                            &command_ledger_retry, &command_ledger_prune, NULL},
};
