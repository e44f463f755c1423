/* The cost of single steps of a token, in the server's own code.
 *
 *     DATABASE_URL=… bench_micro CREDENTIALS
 *
 * CREDENTIALS is a file written by seed.py: its clients are looked up in the database, so that the
 * cache holds the same records as in the server. Prints a line `step<TAB>figure` for each; figures
 * are nanoseconds of processor time per call, the median of several runs, unless the step says
 * otherwise.
 */
#include <malloc.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "auth/client/client_cache.h"
#include "auth/client/credentials.h"
#include "auth/endpoint/oauth_reply.h"
#include "auth/ledger/ledger_row.h"
#include "auth/token/access_token.h"
#include "auth/token/access_token_verify.h"
#include "auth/token/denylist.h"
#include "auth/token/key_directory.h"
#include "auth/token/key_file.h"
#include "auth/worker.h"
#include "common/clock.h"
#include "common/http/form.h"
#include "common/http/reply.h"
#include "common/spool/spool.h"
#include "common/spool/spool_segment.h"

#define REVOKED     1000000
#define MAX_CLIENTS 5000
#define RUNS        5
#define RUN_NS      50000000.0
#define PASS_ROWS   16 /* tokens per turn of a busy loop */
#define FORM        "grant_type=client_credentials"

static void fail(const char *why)
{
    fprintf(stderr, "bench_micro: %s\n", why);
    exit(1);
}

static double cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

/* Calls `step` with 0, 1, 2 … */
static void measure(const char *name, void (*step)(size_t))
{
    double runs[RUNS];
    size_t number = 0;

    for (size_t i = 0; i != RUNS; ++i) {
        double started_ns = cpu_ns(), spent_ns = 0;
        size_t count = 0;

        while (spent_ns < RUN_NS) {
            for (size_t j = 0; j != 64; ++j, ++count)
                step(number++);
            spent_ns = cpu_ns() - started_ns;
        }
        runs[i] = spent_ns / (double)count;
    }
    qsort(runs, RUNS, sizeof(*runs), compare);
    printf("%s\t%.0f\n", name, runs[RUNS / 2]);
}

/* Clients */

static struct {
    char id[32], secret[64], authorization[160];
    struct client_waiter waiter;
} asked[MAX_CLIENTS];
static size_t asked_count, found_count;
static size_t order[1 << 16]; /* random indices of `asked` */
static struct client_cache_counters counters;
static struct timers timers;
static struct pg pg;
static struct client_cache clients;

static void read_credentials(const char *path)
{
    FILE *file = fopen(path, "re");
    char line[256], both[128];

    if (file == NULL)
        fail("cannot open the file of credentials; loadtest/seed.py makes one");
    while (asked_count != MAX_CLIENTS && fgets(line, sizeof(line), file) != NULL) {
        char *rest = line, *id = strsep(&rest, "\t"), *secret = strsep(&rest, "\t");
        int length;

        if (secret == NULL)
            fail("a line of the file of credentials has no secret");
        snprintf(asked[asked_count].id, sizeof(asked->id), "%s", id);
        snprintf(asked[asked_count].secret, sizeof(asked->secret), "%s", secret);
        length = snprintf(both, sizeof(both), "%s:%s", id, secret);
        memcpy(asked[asked_count].authorization, "Basic ", 6);
        EVP_EncodeBlock((unsigned char *)asked[asked_count].authorization + 6,
                        (const unsigned char *)both, length);
        ++asked_count;
    }
    fclose(file);
    if (asked_count == 0)
        fail("the file of credentials is empty");
    for (size_t i = 0; i != COUNT_OF(order); ++i)
        order[i] = arc4random_uniform((uint32_t)asked_count);
}

static void on_change(void *owner, bool ready)
{
    (void)owner;
    client_cache_on_connection(&clients, ready);
}

static void on_notify(void *owner, const char *channel, const char *payload)
{
    (void)owner, (void)channel;
    client_cache_on_change(&clients, payload);
}

static void on_client(struct client_waiter *waiter, enum client_status status,
                      struct client *client, enum client_source source)
{
    (void)waiter;
    (void)client;
    (void)source;
    found_count += status == CLIENT_FOUND;
}

static const struct pg_setup setup[] = {
    {.sql = CLIENT_LISTEN_SQL},
    {.sql = CLIENT_PREPARE_SQL},
    {.sql = NULL},
};
static struct pg_config pg_config = {
    .name = "bench",
    .setup = setup,
    .connect_timeout_ms = 5000,
    .query_timeout_ms = 5000,
    .on_change = on_change,
    .on_notify = on_notify,
};

static void run_loop_until(h2o_loop_t *loop, bool (*done)(void), const char *complaint)
{
    uint64_t deadline_ms = clock_monotonic_ms() + 20000;

    while (!done()) {
        if (clock_monotonic_ms() > deadline_ms)
            fail(complaint);
        h2o_evloop_run(loop, 10);
    }
}

static bool is_connected(void)
{
    return pg_is_ready(&pg);
}

static bool all_are_found(void)
{
    return found_count == asked_count;
}

static void fill_cache(void)
{
    h2o_loop_t *loop = h2o_evloop_create();
    size_t before;

    if ((pg_config.url = getenv("DATABASE_URL")) == NULL || !timers_open(&timers, loop))
        fail("DATABASE_URL is not set");
    client_cache_open(&clients, MAX_CLIENTS, 3600000, 0, &pg, &timers, &counters);
    pg_open(&pg, &pg_config, loop, &timers);
    run_loop_until(loop, is_connected, "PostgreSQL does not answer");
    before = mallinfo2().uordblks;
    for (size_t i = 0; i != asked_count; ++i) {
        asked[i].waiter.on_client = on_client;
        if (!client_cache_find(&clients, slice_of(asked[i].id), &asked[i].waiter))
            client_cache_look_up(&clients, slice_of(asked[i].id), &asked[i].waiter);
    }
    run_loop_until(loop, all_are_found, "not every client was found");
    malloc_trim(0);
    printf("bytes of a cached client\t%.0f\n",
           (double)(mallinfo2().uordblks - before) / (double)asked_count);
}

static void find(size_t number)
{
    size_t i = order[number % COUNT_OF(order)];

    if (!client_cache_find(&clients, slice_of(asked[i].id), &asked[i].waiter))
        fail("a cached client was not found");
}

/* Reading a request */

static struct form form;
static struct credentials credentials;
static struct secret_digest digest;

static void parse_form(size_t number)
{
    static const char *const repeatable[] = {"resource", "audience", NULL};
    static char bytes[sizeof(FORM)];

    (void)number;
    memcpy(bytes, FORM, sizeof(FORM));
    if (form_parse(bytes, sizeof(FORM) - 1, repeatable, &form) != FORM_OK)
        fail("form_parse");
}

static void decode_basic(size_t number)
{
    size_t i = order[number % COUNT_OF(order)];

    if (credentials_read(slice_of(asked[i].authorization), form_get(&form, SLICE("client_id")),
                         form_get(&form, SLICE("client_secret")), &credentials) != CREDENTIALS_OK)
        fail("credentials_read");
}

static void check_secret(size_t number)
{
    struct slice secret = slice_of(asked[order[number % COUNT_OF(order)]].secret);

    if (!secret_is_well_formed(secret))
        fail("secret_is_well_formed");
    secret_digest(secret, &digest);
}

/* Making a token */

static struct access_token_signer signer;
static struct uuid_source uuids;
static struct buffer token;
static struct slice audience = SLICE("https://api.example.com");
static struct access_token_claims claims = {
    .issuer = SLICE("https://auth.example.com"),
    .client_id = SLICE("abcdefghij0123456789"),
    .audiences = &audience,
    .audience_count = 1,
    .scope = SLICE("read write"),
};

static void make_uuid(size_t number)
{
    char text[UUID_TEXT_LENGTH];

    (void)number;
    if (!uuid_v7_make(&uuids, clock_unix_ms(), &claims.jti))
        fail("uuid_v7_make");
    uuid_format(&claims.jti, text);
}

static void sign(size_t number)
{
    (void)number;
    buffer_clear(&token);
    if (!access_token_sign(&signer, &claims, &token))
        fail("access_token_sign");
}

/* Verifying it */

static struct keyring_view keys;
static struct access_token *verified;
static struct buffer scratch;

static void verify_claims(size_t number)
{
    struct access_token *claims_of_it;

    (void)number;
    if (access_token_verify_claims((struct slice){token.bytes, token.size}, &keys,
                                   "https://auth.example.com", claims.issued_at, &scratch,
                                   &claims_of_it) != ACCESS_TOKEN_VALID)
        fail("access_token_verify_claims");
    access_token_verify_release(claims_of_it);
}

static void verify_signature(size_t number)
{
    (void)number;
    if (!access_token_verify_signature((struct slice){token.bytes, token.size}, verified, &keys,
                                       claims.issued_at, &scratch))
        fail("access_token_verify_signature");
}

static void measure_verifying(struct key_set *set, const char *alg)
{
    char name[64];

    keys.set = set;
    if (access_token_verify_claims((struct slice){token.bytes, token.size}, &keys,
                                   "https://auth.example.com", claims.issued_at, &scratch,
                                   &verified) != ACCESS_TOKEN_VALID)
        fail("access_token_verify_claims");
    snprintf(name, sizeof(name), "access_token_verify_claims, %s", alg);
    measure(name, verify_claims);
    snprintf(name, sizeof(name), "access_token_verify_signature, %s", alg);
    measure(name, verify_signature);
    access_token_verify_release(verified);
}

static void measure_signing(const char *directory)
{
    struct key_set *set;
    struct failure failure;
    char kid[KEY_KID_LENGTH + 1], name[64];
    int64_t now = clock_unix_ms() / 1000;

    for (int alg = 0; alg != KEY_ALG_COUNT; ++alg) {
        if (!key_file_create(directory, (enum key_alg)alg, now, kid, &failure))
            fail(failure.reason);
    }
    if ((set = key_directory_load(directory, &failure)) == NULL)
        fail(failure.reason);
    claims.issued_at = now;
    claims.expires_at = now + 3600;
    for (size_t i = 0; i != set->count; ++i) {
        if (!access_token_signer_set(&signer, &set->keys[i]))
            fail("access_token_signer_set");
        snprintf(name, sizeof(name), "access_token_sign, %s", key_alg_name(set->keys[i].alg));
        measure(name, sign);
        measure_verifying(set, key_alg_name(set->keys[i].alg));
        if (!key_file_remove(directory, &set->keys[i], &failure))
            fail(failure.reason);
    }
    keyring_view_dispose(&keys); /* and the set */
}

/* Answering */

static struct worker worker; /* an answer needs little of it */
static h2o_conn_t connection = {.ctx = &worker.http.h2o};
static struct client limited = {.quota = {{1000000000, 100000000000, 0}},
                                .policy = SLICE("\"minute\";q=1000000000;w=60")};

static void answer(size_t number)
{
    h2o_req_t req = {.conn = &connection};
    struct quota_left left = {{999999999 - (int64_t)number, 99999999999, 0}, {5000, 300000, 0}};

    h2o_mem_init_pool(&req.pool);
    oauth_reply_quota_headers(&req, &limited, &left);
    reply_no_store(&req);
    reply_json(&req, 200, (struct slice){token.bytes, token.size});
    h2o_mem_clear_pool(&req.pool);
}

/* Recording it */

static struct spool spool;
static struct spool_writer writer;

/* Replaces the sender: closed segments are discarded unsent. */
static void discard_closed(void)
{
    struct spool_segment *segments = spool_take(&spool, 0), *next;

    for (; segments != NULL; segments = next) {
        next = segments->next;
        spool_discard(&spool, segments);
    }
}

static void record(size_t number)
{
    if (!spool_has_room(&writer))
        fail("spool_has_room");
    ledger_row_append(&writer, &claims,
                      &(struct ledger_row){.tier = SLICE("unlimited"),
                                           .kid = signer.kid,
                                           .issued_at_ms = clock_unix_ms(),
                                           .organization = SLICE("acme"),
                                           .credential = SLICE("3f2a9c417b80")});
    if (number % PASS_ROWS == 0 && !spool_end_pass(&writer))
        fail("spool_end_pass");
    if (number % 1024 == 0)
        discard_closed();
}

static void measure_ledger(const char *directory)
{
    struct spool_config config = {.base = directory,
                                  .max_bytes = (uint64_t)1 << 40,
                                  .batch_rows = 1000,
                                  .batch_interval_ms = 5000,
                                  .format = LEDGER_ROW_FORMAT};
    struct failure failure;

    if (!spool_open(&spool, &config, &failure))
        fail(failure.reason);
    spool_writer_open(&writer, &spool);
    measure("ledger_row_append, and the write of 16 rows", record);
    spool_writer_close(&writer);
    discard_closed();
    spool_close(&spool);
}

/* The set of revoked tokens, with a million of them */

static struct denylist denylist;

/* Bits as good as random (splitmix64). */
static struct uuid some_jti(uint64_t number)
{
    struct uuid jti;
    uint64_t words[2];

    for (size_t i = 0; i != 2; ++i) {
        words[i] = (2 * number + i + 1) * 0x9E3779B97F4A7C15;
        words[i] = (words[i] ^ words[i] >> 30) * 0xBF58476D1CE4E5B9;
        words[i] ^= words[i] >> 27;
    }
    memcpy(jti.bytes, words, sizeof(jti.bytes));
    jti.bytes[0] = 0x7F; /* late enough not to have expired */
    return jti;
}

static void find_revoked(size_t number)
{
    struct uuid jti = some_jti(number % REVOKED);

    if (!denylist_has(&denylist, &jti))
        fail("a revoked token was not found");
}

static void find_unrevoked(size_t number)
{
    struct uuid jti = some_jti(REVOKED + number);

    if (denylist_has(&denylist, &jti))
        fail("a token was found that is not revoked");
}

static void measure_denylist(void)
{
    int64_t now = clock_unix_ms() / 1000;

    if (!denylist_open(&denylist))
        fail("no memory");
    for (uint64_t i = 0; i != REVOKED; ++i) {
        struct uuid jti = some_jti(i);

        if (!denylist_add(&denylist, &jti, now + 1000, now))
            fail("no room");
    }
    measure("denylist_has, one of 1,000,000", find_revoked);
    measure("denylist_has, none of 1,000,000", find_unrevoked);
    denylist_close(&denylist);
}

static void read_clock(size_t number)
{
    (void)number;
    (void)clock_monotonic_us();
}

int main(int argc, char **argv)
{
    char directory[] = "bench_micro-XXXXXX"; /* where a spool would be, not on a tmpfs */

    if (argc != 2) {
        fprintf(stderr, "usage: bench_micro CREDENTIALS\n");
        return 2;
    }
    read_credentials(argv[1]);
    fill_cache();
    measure("client_cache_find, cached, any of all", find);
    measure("form_parse", parse_form);
    measure("credentials_read, Basic", decode_basic);
    measure("secret: checksum and digest", check_secret);
    measure("uuid_v7_make and uuid_format", make_uuid);
    measure("clock_monotonic_us", read_clock);
    if (mkdtemp(directory) == NULL)
        fail("cannot make a directory here");
    measure_signing(directory);
    measure("quota headers and reply", answer);
    measure_ledger(directory);
    measure_denylist();
    rmdir(directory);
    pg_close(&pg);
    client_cache_close(&clients);
    return 0;
}
