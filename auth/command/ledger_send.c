/* `jotd ledger flush` and `retry`: send what is in the spool, by the server's own code. However
 * they end, each row is either sent or still in the spool. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/ledger_spool.h"
#include "auth/ledger/ledger_row.h"
#include "auth/ledger/ledger_sender.h"
#include "auth/settings.h"
#include "common/clock.h"
#include "common/owner.h"
#include "common/spool/spool.h"
#include "common/spool/spool_abandoned.h"
#include "common/spool/spool_list.h"
#include "common/spool/spool_segment.h"

#define SHOW_EVERY_MS 1000

struct sending {
    struct ledger_sender sender;
    uint64_t total; /* rows, counted at the start */
    uint64_t done;  /* of them: written, found already written, or set aside */
    uint64_t shown_ms;
    struct failure left; /* the first that cannot be sent, without stopping the rest */
};

/* On a terminal rewrites one line; otherwise prints one now and then. */
static void show_progress(struct sending *sending)
{
    bool terminal = isatty(STDERR_FILENO) == 1;
    uint64_t now_ms = clock_monotonic_ms();

    if (!terminal && now_ms - sending->shown_ms < SHOW_EVERY_MS)
        return;
    sending->shown_ms = now_ms;
    fprintf(stderr, "%sjotd: %" PRIu64 " of %" PRIu64 " rows%s", terminal ? "\r" : "",
            sending->done, sending->total, terminal ? "" : "\n");
}

static void end_progress(const struct sending *sending)
{
    if (sending->done != 0 && isatty(STDERR_FILENO) == 1)
        fputc('\n', stderr);
}

static uint64_t count_rows(const struct spool_segment *segments)
{
    const struct spool_segment *segment;
    uint64_t rows = 0;

    DL_FOREACH (segments, segment)
        rows += segment->rows;
    return rows;
}

static bool send_all(struct sending *sending, struct spool_segment **segments,
                     struct failure *failure)
{
    while (*segments != NULL) {
        uint64_t rows = count_rows(*segments);

        if (!ledger_sender_send(&sending->sender, NULL, segments, failure))
            return false;
        sending->done += rows - count_rows(*segments);
        show_progress(sending);
    }
    return true;
}

/* Connects by store_connect first, whose reasons say what to do: the sender's are meant for a
 * server's log. */
static bool connect_sender(struct ledger_sender *sender, const struct settings *settings,
                           struct failure *failure)
{
    PGconn *connection = store_connect(settings->database_url, DATABASE_APPLICATION, true, failure);
    bool reached = connection != NULL;

    PQfinish(connection);
    ledger_sender_open(sender, settings->database_url, settings->spool_dir);
    return reached && ledger_pg_connect(&sender->pg, failure);
}

/* Adds to the reason how much was done. */
static bool fail_on_the_way(const struct sending *sending, const struct failure *cause,
                            struct failure *failure)
{
    return failure_set(failure,
                       "%.400s; %" PRIu64 " of %" PRIu64 " rows are done, the rest stays in the "
                       "spool",
                       cause->reason, sending->done, sending->total);
}

/* Connects, perhaps as root, who may hold the password; then, as the spool's owner, lists it and
 * calls `act`. Returns the exit status. */
static int run(bool expired,
               bool (*act)(struct sending *sending, bool expired, const struct spool_entry *entries,
                           struct failure *failure))
{
    struct sending sending = {.shown_ms = clock_monotonic_ms()};
    struct spool_entry *entries = NULL;
    struct settings settings;
    struct failure failure;
    bool done;

    done = settings_load(&settings, SETTINGS_NEED_DATABASE, &failure) &&
           connect_sender(&sending.sender, &settings, &failure) &&
           owner_become(settings.spool_dir, &failure) &&
           ledger_spool_list(settings.spool_dir, &entries, &failure) &&
           act(&sending, expired, entries, &failure) &&
           (sending.left.reason[0] == '\0' || fail_on_the_way(&sending, &sending.left, &failure));
    end_progress(&sending);
    spool_list_free(entries);
    ledger_sender_dispose(&sending.sender);
    settings_dispose(&settings);
    return done ? CLI_DONE : cli_fail(&failure);
}

static void print_sent(const struct sending *sending)
{
    uint64_t written = counter_read(&sending->sender.rows_written);
    uint64_t rejected = counter_read(&sending->sender.rows_rejected);

    printf("sent %" PRIu64 " rows\n", written);
    if (rejected != 0)
        printf("refused %" PRIu64 " rows: they are in *.rejected\n", rejected);
    if (sending->done != written + rejected)
        printf("did not send %" PRIu64 " rows: PostgreSQL had them already, or they are in "
               "*.expired\n",
               sending->done - written - rejected);
}

/* Reported at the end, so that the rest can go on. */
static void note_left(struct sending *sending, const struct failure *cause)
{
    if (sending->left.reason[0] == '\0')
        sending->left = *cause;
}

/* jotd ledger flush */

/* False if nothing can be sent now. */
static bool flush_directory(struct sending *sending, const struct spool_entry *entry,
                            struct failure *failure)
{
    struct spool_abandoned abandoned;
    struct failure cause;
    bool sent;

    if (entry->kind == SPOOL_UNREADABLE || entry->passed_over.reason[0] != '\0') {
        failure_set(&cause, "cannot send %s: %.200s", entry->path,
                    entry->kind == SPOOL_UNREADABLE ? "it is another user's; run this as that user"
                                                    : entry->passed_over.reason);
        note_left(sending, &cause);
        return true;
    }
    /* Another process may be sending it, or may have done so. */
    if (!spool_abandoned_adopt_named(sending->sender.base, entry->name, LEDGER_ROW_FORMAT,
                                     &sending->sender.passed_over, &abandoned))
        return true;
    sent = send_all(sending, &abandoned.segments, &cause);
    spool_abandoned_release(&abandoned);
    if (sent && access(entry->path, F_OK) == 0) {
        failure_set(&cause,
                    entry->newer ? "%s holds segments written by a newer jotd, which `jotd ledger "
                                   "status` lists: flush them with that version"
                                 : "%s holds files that are not segments, or cannot be read",
                    entry->path);
        note_left(sending, &cause);
    }
    return sent || fail_on_the_way(sending, &cause, failure);
}

static bool flush(struct sending *sending, bool expired, const struct spool_entry *entries,
                  struct failure *failure)
{
    uint64_t live = 0, live_rows = 0, directories = 0;
    const struct spool_entry *entry;

    (void)expired;
    DL_FOREACH (entries, entry) {
        if (entry->kind == SPOOL_ABANDONED) {
            ++directories;
            sending->total += entry->rows;
        } else if (entry->kind == SPOOL_LIVE) {
            ++live;
            live_rows += entry->rows;
        }
    }
    fprintf(stderr, "jotd: %" PRIu64 " rows in %" PRIu64 " abandoned directories\n", sending->total,
            directories);
    DL_FOREACH (entries, entry) {
        if ((entry->kind == SPOOL_ABANDONED || entry->kind == SPOOL_UNREADABLE) &&
            !flush_directory(sending, entry, failure))
            return false;
    }
    print_sent(sending);
    if (live != 0)
        printf("left %" PRIu64 " rows to %" PRIu64 " running processes, which send their own\n",
               live_rows, live);
    return true;
}

static int run_flush(const struct cli_command *command, const void *values)
{
    (void)command, (void)values;
    return run(false, flush);
}

const struct cli_command command_ledger_flush = {
    .path = "jotd ledger flush",
    .summary = "send what ended processes left",
    .help = "Sends the rows that ended processes left in JOTD_SPOOL_DIR to PostgreSQL, and "
            "removes\n"
            "their directories. Each row arrives once, even if this is interrupted and run "
            "again. A\n"
            "server on the same spool does this by itself. Progress goes to stderr. What cannot "
            "be\n"
            "sent stays, and the exit status is 1.",
    .run = run_flush,
};

/* jotd ledger retry */

static bool is_wanted(const struct spool_entry *entry, bool expired)
{
    return entry->kind == SPOOL_REJECTED || (entry->kind == SPOOL_EXPIRED && expired);
}

static bool retry_file(struct sending *sending, struct spool *spool,
                       const struct spool_entry *entry, struct failure *failure)
{
    struct spool_segment *segments = NULL;
    struct failure cause;
    bool sent;

    if (entry->newer) {
        failure_set(&cause, "%s was written by a newer jotd: retry it with that version",
                    entry->path);
        note_left(sending, &cause);
        return true;
    }
    if (!spool_abandoned_bring_back(spool, entry, &sending->sender.passed_over, &segments,
                                    &cause)) {
        note_left(sending, &cause);
        return true;
    }
    sent = send_all(sending, &segments, failure);
    spool_segment_free_all(segments);
    return sent;
}

static bool retry_files(struct sending *sending, bool expired, const struct spool_entry *entries,
                        struct failure *failure)
{
    struct spool_config config = {.base = sending->sender.base, .format = LEDGER_ROW_FORMAT};
    const struct spool_entry *entry;
    struct failure cause;
    struct spool spool;
    bool done = spool_open(&spool, &config, &cause);

    DL_FOREACH (entries, entry) {
        if (!done)
            break;
        if (!is_wanted(entry, expired))
            continue;
        if (spool_list_is_waiting(entries, entry))
            fprintf(stderr, "jotd: %s is left: its segment is to be sent first\n", entry->path);
        else
            done = retry_file(sending, &spool, entry, &cause);
    }
    spool_close(&spool);
    return done || fail_on_the_way(sending, &cause, failure);
}

static bool retry(struct sending *sending, bool expired, const struct spool_entry *entries,
                  struct failure *failure)
{
    const struct spool_entry *entry;
    uint64_t files = 0, refused;

    DL_FOREACH (entries, entry) {
        if (is_wanted(entry, expired)) {
            ++files;
            sending->total += entry->rows;
        }
    }
    fprintf(stderr, "jotd: %" PRIu64 " rows in %" PRIu64 " files\n", sending->total, files);
    if (files != 0 && !retry_files(sending, expired, entries, failure))
        return false;
    print_sent(sending);
    refused = counter_read(&sending->sender.rows_rejected);
    return refused == 0 ||
           failure_set(failure, "%" PRIu64 " rows were refused again: see *.rejected in %s",
                       refused, sending->sender.base);
}

struct retry_values {
    bool expired;
};

static const struct cli_option retry_options[] = {
    {.name = "expired",
     .kind = CLI_FLAG,
     .offset = offsetof(struct retry_values, expired),
     .help = "also those of *.expired. Some may be in the database already, and would\n"
             "then be there twice: first look up the first column of a few with\n"
             "SELECT * FROM issued_token('JTI')"},
    {0},
};

static int run_retry(const struct cli_command *command, const void *values)
{
    (void)command;
    return run(((const struct retry_values *)values)->expired, retry);
}

const struct cli_command command_ledger_retry = {
    .path = "jotd ledger retry",
    .summary = "send refused rows again",
    .help = "Sends the rows of every *.rejected file in JOTD_SPOOL_DIR to PostgreSQL again. "
            "Correct\n"
            "them in the file first, if need be: each line is a row in COPY's text format. Rows\n"
            "that are refused again are set aside again, and the exit status is 1.",
    .options = retry_options,
    .values_size = sizeof(struct retry_values),
    .run = run_retry,
};
