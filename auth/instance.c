#include "auth/instance.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define NOTE_EVERY_MS 10000
#define NUMBER_SIZE   24

bool instance_open(struct instance *instance,
                   void (*read)(void *context, struct instance_state *state), void *context)
{
    struct uuid_source source = {.left = 0};
    struct uuid id;

    *instance = (struct instance){.read = read, .context = context, .started_ms = clock_unix_ms()};
    if (gethostname(instance->host, sizeof(instance->host) - 1) != 0)
        snprintf(instance->host, sizeof(instance->host), "unknown");
    if (!uuid_v7_make(&source, instance->started_ms, &id))
        return false;
    uuid_format(&id, instance->id);
    return true;
}

/* A commit that waits for a standby which is away would hold up the feed, for a row that is soon
 * written again. */
#define NOTE_SQL                                                                                   \
    "SELECT note_instance($1::uuid, $2, $3, to_timestamp($4::float8 / 1000), $5::bigint,"          \
    " to_timestamp($6::float8 / 1000), $7), set_config('synchronous_commit', 'off', true)"

static bool write_row(struct instance *instance, struct pg_blocking *pg, struct failure *failure)
{
    char started[NUMBER_SIZE], pending[NUMBER_SIZE], oldest[NUMBER_SIZE];
    struct instance_state state = {.keys = ""};

    instance->read(instance->context, &state);
    snprintf(started, sizeof(started), "%" PRId64, instance->started_ms);
    snprintf(pending, sizeof(pending), "%" PRIu64, state.pending_rows);
    snprintf(oldest, sizeof(oldest), "%" PRId64, state.oldest_pending_ms);
    return pg_blocking_query(
        pg, NOTE_SQL, 7,
        (const char *const[]){instance->id, instance->host, JOTD_VERSION, started, pending,
                              state.oldest_pending_ms != 0 ? oldest : NULL, state.keys},
        NULL, failure);
}

void instance_note(struct instance *instance, struct pg_blocking *pg)
{
    struct failure failure = {""};

    instance->due_ms = clock_monotonic_ms() + NOTE_EVERY_MS;
    if (!write_row(instance, pg, &failure) && pg->connection != NULL &&
        strcmp(failure.reason, instance->last.reason) != 0)
        log_warn("instance.not_noted", log_str("reason", failure.reason));
    instance->last = failure;
}

void instance_note_if_due(struct instance *instance, struct pg_blocking *pg)
{
    if (clock_monotonic_ms() >= instance->due_ms)
        instance_note(instance, pg);
}
