/* `jotd key`: create, list, rotate and prune signing keys. The key directory is the whole state; a
 * running server checks it every second. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/settings.h"
#include "auth/store/client_store.h"
#include "auth/token/key_directory.h"
#include "auth/token/key_file.h"
#include "auth/token/key_name.h"
#include "auth/token/key_rotation.h"
#include "common/owner.h"
#include "common/time_text.h"

#define LEAD_DEFAULT_S 900      /* verifiers cache the JWKS for 5 to 10 minutes */
#define DELAY_MAX_S    31536000 /* a year */

struct arguments {
    const char *alg;
    struct cli_number delay_s; /* --activate-in or --lead */
    bool now;
    bool json;
};

#define OPTION(member) .offset = offsetof(struct arguments, member)

#define ALG_OPTION(text)                                                                           \
    {                                                                                              \
        .name = "alg", .kind = CLI_TEXT, OPTION(alg), .value = "ALG", .help = (text)               \
    }
#define JSON_OPTION(text)                                                                          \
    {                                                                                              \
        .name = "json", .kind = CLI_FLAG, OPTION(json), .help = (text)                             \
    }

/* False, with the exit status, if it is not an algorithm. */
static bool read_alg(const struct cli_command *command, const struct arguments *arguments,
                     enum key_alg *alg, int *status)
{
    if (arguments->alg == NULL || key_alg_parse(arguments->alg, alg))
        return true;
    *status = cli_usage(command, "--alg is one of ES256, RS256, HS256");
    return false;
}

/* Runs a command on the key directory. First asks PostgreSQL, perhaps as root, who may hold the
 * password; then works in the directory as its owner. */
static int run(const struct arguments *arguments,
               void (*ask_database)(const struct settings *settings),
               bool (*act)(const struct settings *settings, const struct arguments *arguments,
                           struct failure *failure))
{
    struct settings settings;
    struct failure failure;
    bool done = settings_load(&settings, SETTINGS_NEED_NOTHING, &failure);

    if (done && ask_database != NULL)
        ask_database(&settings);
    done = done && owner_become(settings.keys_dir, &failure) && act(&settings, arguments, &failure);
    settings_dispose(&settings);
    return done ? CLI_DONE : cli_fail(&failure);
}

/* jotd key create */

/* Verifiers that have cached the JWKS do not know a key that signs at once. */
static bool check_takeover(const struct settings *settings, const struct arguments *arguments,
                           struct failure *failure)
{
    struct failure unreadable; /* or it does not exist yet */
    struct key_set *set = key_directory_load(settings->keys_dir, &unreadable);
    bool fine = arguments->delay_s.is_given || arguments->now || set == NULL ||
                key_set_signing(set, time(NULL)) == NULL ||
                failure_set(failure,
                            "a key signs in %s already: give --activate-in SECONDS, so that "
                            "verifiers learn of the new one before it signs, or --now",
                            settings->keys_dir);

    key_set_release(set);
    return fine;
}

static bool create_key(const struct settings *settings, const struct arguments *arguments,
                       struct failure *failure)
{
    struct signing_key key = {.alg = KEY_ES256,
                              .activate_at = time(NULL) + arguments->delay_s.value};
    char name[KEY_NAME_SIZE];

    if (arguments->alg != NULL && !key_alg_parse(arguments->alg, &key.alg))
        return failure_set(failure, "there is no algorithm %s", arguments->alg);
    if (!check_takeover(settings, arguments, failure) ||
        !key_file_create(settings->keys_dir, key.alg, key.activate_at, key.kid, failure))
        return false;
    key_name_write(&key, name);
    fprintf(stderr, "jotd: made %s/%s\n", settings->keys_dir, name);
    if (arguments->json)
        return print_json(json_pack("{s:s, s:s, s:I, s:s}", "kid", key.kid, "alg",
                                    key_alg_name(key.alg), "activate_at",
                                    (json_int_t)key.activate_at, "file", name),
                          failure);
    puts(key.kid);
    return true;
}

static int run_create(const struct cli_command *command, const void *values)
{
    const struct arguments *arguments = values;
    enum key_alg alg;
    int status;

    if (!read_alg(command, arguments, &alg, &status))
        return status;
    if (arguments->now && arguments->delay_s.is_given)
        return cli_usage(command, "--now and --activate-in exclude each other");
    return run(arguments, NULL, create_key);
}

static const struct cli_option create_options[] = {
    ALG_OPTION("ES256 (default), RS256, or HS256, which is never published"),
    {.name = "activate-in",
     .kind = CLI_NUMBER,
     OPTION(delay_s),
     .value = "SECONDS",
     .max = DELAY_MAX_S,
     .help = "time until it signs"},
    {.name = "now",
     .kind = CLI_FLAG,
     OPTION(now),
     .help = "sign at once, the default while no key signs; if one does, give\n"
             "this or --activate-in"},
    JSON_OPTION("print kid, alg, activate_at and file"),
    {0},
};

static const struct cli_command command_create = {
    .path = "jotd key create",
    .summary = "make a signing key",
    .help = "Makes a signing key in JOTD_KEYS_DIR and prints its kid, and its file on stderr.\n"
            "Servers see it within a second.",
    .options = create_options,
    .notes = "To replace a key that is in use, run jotd key rotate instead.",
    .values_size = sizeof(struct arguments),
    .run = run_create,
};

/* jotd key list */

static json_t *key_json(const struct key_set *set, const struct signing_key *key, int64_t now)
{
    char name[KEY_NAME_SIZE];

    key_name_write(key, name);
    return json_pack("{s:s, s:s, s:s, s:I, s:o, s:s}", "kid", key->kid, "alg",
                     key_alg_name(key->alg), "state",
                     key_set_state_name(key_set_state(set, key, now)), "activate_at",
                     (json_int_t)key->activate_at, "retire_at",
                     key->retire_at != 0 ? json_integer(key->retire_at) : json_null(), "file",
                     name);
}

static bool print_keys_json(const struct key_set *set, int64_t now, struct failure *failure)
{
    json_t *keys = json_array();

    for (size_t i = 0; i < set->count; ++i)
        json_array_append_new(keys, key_json(set, &set->keys[i], now));
    return print_json(keys, failure);
}

static void print_keys(const struct key_set *set, int64_t now)
{
    char activate[TIME_TEXT_SIZE], retire[TIME_TEXT_SIZE];

    printf("%-*s  %-5s  %-8s  %-20s  %s\n", KEY_KID_LENGTH, "kid", "alg", "state", "activate",
           "retire");
    for (size_t i = 0; i < set->count; ++i) {
        const struct signing_key *key = &set->keys[i];

        printf("%-*s  %-5s  %-8s  %-20s  %s\n", KEY_KID_LENGTH, key->kid, key_alg_name(key->alg),
               key_set_state_name(key_set_state(set, key, now)),
               time_text_format(key->activate_at * 1000, activate),
               key->retire_at != 0 ? time_text_format(key->retire_at * 1000, retire) : "-");
    }
}

static bool list_keys(const struct settings *settings, const struct arguments *arguments,
                      struct failure *failure)
{
    struct key_set *set = key_directory_load(settings->keys_dir, failure);
    bool done = set != NULL;

    if (done && arguments->json)
        done = print_keys_json(set, time(NULL), failure);
    else if (done)
        print_keys(set, time(NULL));
    key_set_release(set);
    return done;
}

static int run_list(const struct cli_command *command, const void *values)
{
    (void)command;
    return run(values, NULL, list_keys);
}

static const struct cli_option list_options[] = {
    JSON_OPTION("print an array of kid, alg, state, activate_at, retire_at (epoch seconds),\nfile"),
    {0},
};

static const struct cli_command command_list = {
    .path = "jotd key list",
    .summary = "show the signing keys",
    .help = "Shows the keys in JOTD_KEYS_DIR in the order of activation, times in UTC. States:\n"
            "\n"
            "  next      published, does not sign yet\n"
            "  signing   signs now\n"
            "  retiring  no longer signs, published for the tokens that it signed\n"
            "  retired   no longer published; jotd key prune removes it",
    .options = list_options,
    .values_size = sizeof(struct arguments),
    .run = run_list,
};

/* jotd key rotate */

/* The longest token_ttl of the clients, from the database. */
static struct {
    long long longest_s;
    struct failure unknown; /* why it is unknown; empty: it is known */
} clients_ttl;

static void ask_longest_ttl(const struct settings *settings)
{
    struct store_failure failure = {.why = {"DATABASE_URL is not set"}};
    PGconn *connection =
        settings->database_url != NULL
            ? store_connect(settings->database_url, DATABASE_APPLICATION, true, &failure.why)
            : NULL;

    if (connection == NULL ||
        !client_store_longest_ttl(connection, &clients_ttl.longest_s, &failure))
        clients_ttl.unknown = failure.why;
    PQfinish(connection);
}

/* The longest that a token may live. Prints on stderr where that comes from. */
static int64_t longest_ttl_s(const struct settings *settings)
{
    long long ttl_s = clients_ttl.longest_s;

    if (clients_ttl.unknown.reason[0] != '\0') {
        fprintf(stderr, "jotd: tokens are taken to live up to %d s, the most that is allowed: %s\n",
                TOKEN_TTL_MAX_S, clients_ttl.unknown.reason);
        return TOKEN_TTL_MAX_S;
    }
    if (ttl_s < settings->token_ttl_s)
        ttl_s = settings->token_ttl_s;
    fprintf(stderr, "jotd: tokens live up to %lld s, by JOTD_TOKEN_TTL and the clients\n", ttl_s);
    return ttl_s;
}

static bool print_rotation(const struct key_rotation *rotation, bool json, struct failure *failure)
{
    char text[TIME_TEXT_SIZE];
    json_t *retired = json_array();

    if (rotation->at_once)
        fputs("jotd: no key signed, so the new one does so at once\n", stderr);
    else
        fprintf(stderr, "jotd: the new key is published at once and signs from %s\n",
                time_text_format(rotation->activate_at * 1000, text));
    for (size_t i = 0; i < rotation->retired_count; ++i) {
        fprintf(stderr, "jotd: the key %s stays published until %s\n", rotation->retired[i]->kid,
                time_text_format(rotation->retire_at * 1000, text));
        json_array_append_new(retired, json_pack("{s:s, s:I}", "kid", rotation->retired[i]->kid,
                                                 "retire_at", (json_int_t)rotation->retire_at));
    }
    if (json)
        return print_json(json_pack("{s:s, s:s, s:I, s:o}", "kid", rotation->kid, "alg",
                                    key_alg_name(rotation->alg), "activate_at",
                                    (json_int_t)rotation->activate_at, "retired", retired),
                          failure);
    json_decref(retired);
    puts(rotation->kid);
    return true;
}

static bool rotate_keys(const struct settings *settings, const struct arguments *arguments,
                        struct failure *failure)
{
    struct key_rotation rotation = {.alg = KEY_ES256,
                                    .lead_s = arguments->delay_s.is_given ? arguments->delay_s.value
                                                                          : LEAD_DEFAULT_S};
    const struct signing_key *signing;
    struct key_set *set;
    bool done;

    if ((set = key_directory_load(settings->keys_dir, failure)) == NULL)
        return false;
    signing = key_set_signing(set, time(NULL));
    if (arguments->alg != NULL)
        (void)!key_alg_parse(arguments->alg, &rotation.alg); /* already checked */
    else if (signing != NULL)
        rotation.alg = signing->alg;
    if (set->count != 0)
        rotation.longest_ttl_s = longest_ttl_s(settings);
    done = key_rotation_run(&rotation, settings->keys_dir, set, time(NULL), failure) &&
           print_rotation(&rotation, arguments->json, failure);
    key_set_release(set);
    return done;
}

static int run_rotate(const struct cli_command *command, const void *values)
{
    enum key_alg alg;
    int status;

    return read_alg(command, values, &alg, &status) ? run(values, ask_longest_ttl, rotate_keys)
                                                    : status;
}

static const struct cli_option rotate_options[] = {
    ALG_OPTION("ES256, RS256 or HS256; default: that of the key that signs now"),
    {.name = "lead",
     .kind = CLI_NUMBER,
     OPTION(delay_s),
     .value = "SECONDS",
     .max = DELAY_MAX_S,
     .help = "default 900"},
    JSON_OPTION("print kid, alg, activate_at and the keys that retire"),
    {0},
};

static const struct cli_command command_rotate = {
    .path = "jotd key rotate",
    .summary = "replace the signing key without failing a verification",
    .help = "Makes a key that is published at once and signs after the lead, by when everyone "
            "who\n"
            "caches the JWKS has it. Older keys stay published until their last token has "
            "expired.\n"
            "If no key signs now, the new one signs at once. Prints the new kid.",
    .options = rotate_options,
    .notes = "If DATABASE_URL is set, the longest lifetime of a token is read there; otherwise it "
             "is\n"
             "taken to be a day.",
    .values_size = sizeof(struct arguments),
    .run = run_rotate,
};

/* jotd key prune */

static bool remove_retired(const char *directory, const struct key_set *set, bool json,
                           struct failure *failure)
{
    int64_t now = time(NULL);
    json_t *removed = json_array();

    for (size_t i = 0; i < set->count; ++i) {
        const struct signing_key *key = &set->keys[i];

        if (key_set_state(set, key, now) != KEY_RETIRED)
            continue;
        if (!key_file_remove(directory, key, failure)) {
            json_decref(removed);
            return false;
        }
        json_array_append_new(removed, json_string(key->kid));
        if (!json)
            printf("removed %s\n", key->kid);
    }
    if (json)
        return print_json(removed, failure);
    if (json_array_size(removed) == 0)
        puts("no key is retired");
    json_decref(removed);
    return true;
}

static bool prune_keys(const struct settings *settings, const struct arguments *arguments,
                       struct failure *failure)
{
    struct key_set *set = key_directory_load(settings->keys_dir, failure);
    bool done = set != NULL && remove_retired(settings->keys_dir, set, arguments->json, failure);

    key_set_release(set);
    return done;
}

static int run_prune(const struct cli_command *command, const void *values)
{
    (void)command;
    return run(values, NULL, prune_keys);
}

static const struct cli_option prune_options[] = {
    JSON_OPTION("print an array of kids"),
    {0},
};

static const struct cli_command command_prune = {
    .path = "jotd key prune",
    .summary = "remove retired keys",
    .help = "Removes the keys in JOTD_KEYS_DIR whose retire time has passed, and prints their\n"
            "kids.",
    .options = prune_options,
    .values_size = sizeof(struct arguments),
    .run = run_prune,
};

const struct cli_command command_key = {
    .path = "jotd key",
    .summary = "create, list, rotate, prune signing keys",
    .commands = (const struct cli_command *const[]){&command_create, &command_list, &command_rotate,
                                                    &command_prune, NULL},
};
