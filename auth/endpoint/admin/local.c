#include "auth/endpoint/admin/local.h"

#include <string.h>

#include "auth/pending.h"
#include "auth/store/client_store.h"
#include "auth/store/document.h"
#include "auth/worker.h"
#include "common/clock.h"
#include "common/time_text.h"

/* The session */

static json_t *time_json(int64_t seconds)
{
    char text[TIME_TEXT_LENGTH + 1];

    time_text_write(seconds * 1000, 'T', text);
    return json_sprintf("%.19sZ", text);
}

static bool show_session(struct call *call, PGconn *connection, struct store_failure *failure)
{
    static const char *const scopes[] = {[CALL_READ] = GUARD_SCOPE_READ,
                                         [CALL_WRITE] = GUARD_SCOPE_WRITE,
                                         [CALL_ADMIN] = GUARD_SCOPE_ADMIN};
    json_t *held = json_array();

    (void)connection, (void)failure;
    for (enum call_scope scope = CALL_READ; scope <= call->scope; ++scope)
        json_array_append_new(held, json_string(scopes[scope]));
    call_answer_object(call,
                       json_pack("{s:s, s:o, s:o}", "client_id", call->client_id, "scopes", held,
                                 "expires_at", time_json(call->expires_at)),
                       NULL);
    return true;
}

const struct call_operation local_session_operations[] = {
    {.method = "GET", .scope = CALL_READ, .is_local = true, .run = show_session},
    {0},
};

/* The caches */

struct cache_numbers {
    uint64_t hits, misses, stale, evictions, expirations, invalidations, entries, capacity;
};

static struct cache_numbers read_cache(const struct worker *worker)
{
    const struct client_cache_counters *counters = &worker->counters.cache;

    return (struct cache_numbers){
        .hits = counter_read(&counters->hits),
        .misses = counter_read(&counters->misses),
        .stale = counter_read(&counters->stale),
        .evictions = counter_read(&counters->evictions),
        .expirations = counter_read(&counters->expirations),
        .invalidations = counter_read(&counters->invalidations),
        .entries = counter_read(&counters->added) - counter_read(&counters->removed),
        .capacity = worker->clients.records.capacity,
    };
}

static json_t *cache_json(const struct cache_numbers *numbers)
{
    uint64_t asked = numbers->hits + numbers->misses + numbers->stale;

    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "hits",
                     (json_int_t)numbers->hits, "misses", (json_int_t)numbers->misses, "stale",
                     (json_int_t)numbers->stale, "evictions", (json_int_t)numbers->evictions,
                     "expirations", (json_int_t)numbers->expirations, "invalidations",
                     (json_int_t)numbers->invalidations, "entries", (json_int_t)numbers->entries,
                     "capacity", (json_int_t)numbers->capacity, "hit_rate",
                     asked != 0
                         ? json_real((double)(numbers->hits + numbers->stale) / (double)asked)
                         : json_null());
}

static void add(struct cache_numbers *sum, const struct cache_numbers *numbers)
{
    sum->hits += numbers->hits;
    sum->misses += numbers->misses;
    sum->stale += numbers->stale;
    sum->evictions += numbers->evictions;
    sum->expirations += numbers->expirations;
    sum->invalidations += numbers->invalidations;
    sum->entries += numbers->entries;
    sum->capacity += numbers->capacity;
}

static bool show_cache(struct call *call, PGconn *connection, struct store_failure *failure)
{
    struct process *process = call->admin->process;
    struct cache_numbers sum = {0};
    json_t *workers = json_array(), *object;

    (void)connection, (void)failure;
    for (size_t i = 0; i != process->worker_count; ++i) {
        struct cache_numbers numbers = read_cache(process->workers + i);
        json_t *worker = cache_json(&numbers);

        json_object_set_new(worker, "worker", json_integer((json_int_t)i));
        json_array_append_new(workers, worker);
        add(&sum, &numbers);
    }
    object = cache_json(&sum);
    json_object_set_new(object, "pending_rows",
                        json_integer((json_int_t)pending_read(process).rows));
    json_object_set_new(object, "workers", workers);
    call_answer_object(call, object, NULL);
    return true;
}

const struct call_operation local_cache_operations[] = {
    {.method = "GET", .scope = CALL_READ, .is_local = true, .run = show_cache},
    {0},
};

/* Every worker of every replica hears it. */
static bool invalidate(struct call *call, PGconn *connection, struct store_failure *failure)
{
    static const char *const members[] = {"client_id", "all", NULL};
    const char *client_id = NULL;
    bool all = false;

    if (!document_check(call->body, members, failure) ||
        !document_text(call->body, "client_id", &client_id, failure) ||
        !document_boolean(call->body, "all", &all, failure))
        return false;
    if ((client_id != NULL) == all)
        return store_fail(failure, STORE_INVALID, "",
                          "give the client_id of one client, or \"all\": true");
    return (all || client_store_check_id(client_id, failure)) &&
           client_store_invalidate(connection, client_id, failure);
}

const struct call_operation local_invalidate_operations[] = {
    {.method = "POST",
     .scope = CALL_WRITE,
     .takes_body = true,
     .is_repeatable = true,
     .run = invalidate},
    {0},
};

/* The signing keys */

static json_t *key_json(const struct key_set *set, const struct signing_key *key, int64_t now)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o}", "kid", key->kid, "alg", key_alg_name(key->alg),
                     "state", key_set_state_name(key_set_state(set, key, now)), "activate_at",
                     time_json(key->activate_at), "retire_at",
                     key->retire_at != 0 ? time_json(key->retire_at) : json_null());
}

static bool list_keys(struct call *call, PGconn *connection, struct store_failure *failure)
{
    const struct key_set *set = call->admin->keys.set;
    int64_t now = clock_unix_ms() / 1000;
    json_t *items = json_array();

    (void)connection, (void)failure;
    for (size_t i = 0; set != NULL && i != set->count; ++i)
        json_array_append_new(items, key_json(set, set->keys + i, now));
    call_answer_page(call, items, NULL);
    return true;
}

const struct call_operation local_keys_operations[] = {
    {.method = "GET", .scope = CALL_READ, .is_local = true, .run = list_keys},
    {0},
};
