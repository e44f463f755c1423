/* `jotd key create`, `list` and `prune`. The key directory is the whole state; a running server
 * checks it every second. */
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "auth/command/commands.h"
#include "auth/command/key_command.h"
#include "auth/command/print.h"
#include "auth/token/key_directory.h"
#include "auth/token/key_file.h"
#include "auth/token/key_name.h"
#include "common/time_text.h"

struct arguments {
    const char *alg;
    struct cli_number activate_in_s;
    bool now;
    bool json;
};

#define AT(member) offsetof(struct arguments, member)

/* jotd key create */

/* Verifiers that have cached the JWKS do not know a key that signs at once. */
static bool check_takeover(const struct settings *settings, const struct arguments *arguments,
                           struct failure *failure)
{
    struct failure unreadable; /* or it does not exist yet */
    struct key_set *set = key_directory_load(settings->keys_dir, &unreadable);
    bool fine = arguments->activate_in_s.is_given || arguments->now || set == NULL ||
                key_set_signing(set, time(NULL)) == NULL ||
                failure_set(failure,
                            "a key signs in %s already: give --activate-in SECONDS, so that "
                            "verifiers learn of the new one before it signs, or --now",
                            settings->keys_dir);

    key_set_release(set);
    return fine;
}

static bool create_key(const struct settings *settings, const void *values, struct failure *failure)
{
    const struct arguments *arguments = values;
    struct signing_key key = {.alg = KEY_ES256,
                              .activate_at = time(NULL) + arguments->activate_in_s.value};
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

    if (!key_command_read_alg(command, arguments->alg, &alg, &status))
        return status;
    if (arguments->now && arguments->activate_in_s.is_given)
        return cli_usage(command, "--now and --activate-in exclude each other");
    return key_command_run(arguments, NULL, create_key);
}

static const struct cli_option create_options[] = {
    KEY_COMMAND_ALG(AT(alg), "ES256 (default), RS256, or HS256, which is never published"),
    {.name = "activate-in",
     .kind = CLI_NUMBER,
     .offset = AT(activate_in_s),
     .value = "SECONDS",
     .max = KEY_COMMAND_DELAY_MAX_S,
     .help = "time until it signs"},
    {.name = "now",
     .kind = CLI_FLAG,
     .offset = AT(now),
     .help = "sign at once, the default while no key signs; if one does, give\n"
             "this or --activate-in"},
    KEY_COMMAND_JSON(AT(json), "print kid, alg, activate_at and file"),
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

static bool list_keys(const struct settings *settings, const void *values, struct failure *failure)
{
    const struct arguments *arguments = values;
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
    return key_command_run(values, NULL, list_keys);
}

static const struct cli_option list_options[] = {
    KEY_COMMAND_JSON(
        AT(json),
        "print an array of kid, alg, state, activate_at, retire_at (epoch seconds),\nfile"),
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

static bool prune_keys(const struct settings *settings, const void *values, struct failure *failure)
{
    const struct arguments *arguments = values;
    struct key_set *set = key_directory_load(settings->keys_dir, failure);
    bool done = set != NULL && remove_retired(settings->keys_dir, set, arguments->json, failure);

    key_set_release(set);
    return done;
}

static int run_prune(const struct cli_command *command, const void *values)
{
    (void)command;
    return key_command_run(values, NULL, prune_keys);
}

static const struct cli_option prune_options[] = {
    KEY_COMMAND_JSON(AT(json), "print an array of kids"),
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
    .commands = (const struct cli_command *const[]){&command_create, &command_list,
                                                    &command_key_rotate, &command_prune, NULL},
};
