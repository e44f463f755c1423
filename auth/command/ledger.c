/* `jotd ledger`: its arguments, and what the spool holds. ledger_send.c has flush and retry,
 * ledger_prune.c prune. */
#include "auth/command/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/owner.h"
#include "common/spool/spool.h"
#include "common/time_text.h"

#define KEEP_MONTHS_MAX 1200

bool ledger_arguments_read(const struct cli_command *command, int argc, char **argv,
                           const struct option *options, struct ledger_arguments *arguments,
                           int *status)
{
    long long months;
    int option;

    *arguments = (struct ledger_arguments){0};
    admin_start_options();
    while ((option = getopt_long(argc, argv, ADMIN_SHORT_OPTIONS, options, NULL)) != -1) {
        switch (option) {
        case LEDGER_OPTION_JSON:
            arguments->json = true;
            break;
        case LEDGER_OPTION_EXPIRED:
            arguments->expired = true;
            break;
        case LEDGER_OPTION_KEEP_MONTHS:
            if (!integer_parse(optarg, 1, KEEP_MONTHS_MAX, &months)) {
                *status =
                    cli_usage(command, "months are a whole number from 1 to %d", KEEP_MONTHS_MAX);
                return false;
            }
            arguments->keep_months = optarg;
            break;
        case LEDGER_OPTION_DRY_RUN:
            arguments->dry_run = true;
            break;
        default:
            *status = admin_other_option(command, option, argv);
            return false;
        }
    }
    if (optind != argc) {
        *status = cli_usage(command, "unexpected argument: %s", argv[optind]);
        return false;
    }
    return true;
}

/* jotd ledger status */

static bool is_passed_over(const struct spool_entry *entry)
{
    return entry->passed_over.reason[0] != '\0';
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
        if (entry->kind != kind || is_passed_over(entry))
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

static bool print_json(const char *base, const struct spool_entry *entries, struct failure *failure)
{
    const struct spool_entry *entry;
    json_t *processes = json_array();

    DL_FOREACH (entries, entry) {
        if (is_process(entry))
            json_array_append_new(processes, process_json(entry));
    }
    return admin_print_json(
        json_pack("{s:s, s:o, s:o, s:o, s:o}", "spool", base, "processes", processes, "rejected",
                  set_aside_json(entries, SPOOL_REJECTED), "expired",
                  set_aside_json(entries, SPOOL_EXPIRED), "passed_over", passed_over_json(entries)),
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
        if (entry->kind != kind || is_passed_over(entry))
            continue;
        ++files;
        rows += entry->rows;
        bytes += entry->bytes;
    }
    printf("%s: %" PRIu64 " files, %" PRIu64 " rows, %" PRIu64 " bytes\n", name, files, rows,
           bytes);
    DL_FOREACH (entries, entry) {
        if (entry->kind == kind && !is_passed_over(entry))
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

bool ledger_list(const char *base, struct spool_entry **entries, struct failure *failure)
{
    *entries = NULL;
    if (access(base, F_OK) == -1 && errno == ENOENT)
        return failure_set(failure, "there is no %s; JOTD_SPOOL_DIR says where the spool is", base);
    return spool_list(base, entries, failure);
}

static bool print_status(const char *base, bool json, struct failure *failure)
{
    struct spool_entry *entries;
    bool done = ledger_list(base, &entries, failure);

    if (done && json) {
        done = print_json(base, entries, failure);
    } else if (done) {
        print_processes(entries);
        print_set_aside(entries, SPOOL_REJECTED, "rejected");
        print_set_aside(entries, SPOOL_EXPIRED, "expired");
        print_passed_over(entries);
    }
    spool_list_free(entries);
    return done;
}

static int run_status(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, LEDGER_OPTION_JSON},
                                            ADMIN_HELP_OPTION,
                                            {0}};
    struct ledger_arguments arguments;
    struct settings settings;
    struct failure failure;
    int status;

    if (!ledger_arguments_read(command, argc, argv, options, &arguments, &status))
        return status;
    status = settings_load(&settings, SETTINGS_NEED_NOTHING, &failure) &&
                     owner_become(settings.spool_dir, &failure) &&
                     print_status(settings.spool_dir, arguments.json, &failure)
                 ? CLI_DONE
                 : cli_fail(&failure);
    settings_dispose(&settings);
    return status;
}

static const char status_help[] =
    "Usage: jotd ledger status [--json]\n"
    "\n"
    "Shows what JOTD_SPOOL_DIR holds: for each process the rows that wait for PostgreSQL, then "
    "the\n"
    "files of rows that were set aside. Changes nothing, and needs no database. States:\n"
    "\n"
    "  live        the process runs and sends its rows\n"
    "  abandoned   it does not; a server on this spool sends them, or jotd ledger flush\n"
    "  unreadable  the directory is another user's: run this, and jotd ledger flush, as that user\n"
    "\n"
    "Set aside:\n"
    "\n"
    "  rejected   PostgreSQL refused the rows; jotd ledger retry sends them again\n"
    "  expired    too old to tell whether they were sent; jotd ledger retry --expired\n"
    "\n"
    "Passed over, with the reason: what has the name of one of them and cannot be one, such as a "
    "link,\n"
    "a pipe, a file of somebody else's, or one of more than 32 MiB. It is neither read nor "
    "removed.\n"
    "\n"
    "  --json     print an object of spool, processes, rejected, expired, passed_over\n";

static const char flush_help[] =
    "Usage: jotd ledger flush\n"
    "\n"
    "Sends to PostgreSQL what processes left in JOTD_SPOOL_DIR that run no more, and removes "
    "their\n"
    "directories. Each row arrives once, also when this is interrupted and run again. A server on\n"
    "the same spool does this by itself. Progress goes to stderr. What cannot be sent is left, and "
    "the\n"
    "exit status is 1.\n";

static const char retry_help[] =
    "Usage: jotd ledger retry [--expired]\n"
    "\n"
    "Sends the rows of every *.rejected file in JOTD_SPOOL_DIR to PostgreSQL again. They may be\n"
    "corrected in the file before: each line is a row in COPY's text format. What is refused "
    "again\n"
    "is set aside again, and the exit status is 1.\n"
    "\n"
    "  --expired   also those of *.expired. Some of them may be in the database already, and "
    "would\n"
    "              be there twice: look for the first column of some by\n"
    "              SELECT * FROM issued_token('JTI') first\n";

static const char prune_help[] =
    "Usage: jotd ledger prune --keep-months N [--dry-run] [--json]\n"
    "\n"
    "Keeps this month (UTC) and the N months before it, and drops the older monthly partitions of\n"
    "issued_tokens. Also forgets the batches of over 30 days ago, as servers do every day.\n"
    "\n"
    "  --keep-months N   1 to 1200\n"
    "  --dry-run         only print what would be dropped\n"
    "  --json            print an object of what was dropped\n"
    "\n"
    "Rows are estimates, as of the last ANALYZE.\n"
    "\n"
    "Example: jotd ledger prune --keep-months 12 --dry-run\n";

static const struct cli_command commands[] = {
    {"status", "show the rows that wait for PostgreSQL", status_help, run_status},
    {"flush", "send what ended processes have left", flush_help, ledger_run_flush},
    {"retry", "send refused rows again", retry_help, ledger_run_retry},
    {"prune", "drop old months", prune_help, ledger_run_prune},
    {0},
};

int admin_ledger(int argc, char **argv)
{
    return cli_dispatch("jotd ledger", commands, argc, argv);
}
