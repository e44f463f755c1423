/* `jotd key`: create, list, rotate and prune signing keys. The key directory is the whole state; a
 * server that runs looks at it every second. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "auth/command/command.h"
#include "auth/token/key_directory.h"
#include "auth/token/key_file.h"
#include "auth/token/key_name.h"
#include "auth/token/key_rotation.h"
#include "common/owner.h"
#include "common/time_text.h"

#define LEAD_DEFAULT 900      /* seconds; those who read the JWKS cache it for 5 to 10 minutes */
#define DELAY_MAX    31536000 /* seconds: a year */

struct arguments {
    bool has_alg;
    enum key_alg alg;
    bool has_delay;
    long long delay; /* --activate-in or --lead, seconds */
    bool now;
    bool json;
    bool asks_ttl;         /* the command needs what follows */
    long long longest_ttl; /* of the clients, seconds */
    struct failure no_ttl; /* why it is not known; empty: it is */
};

enum {
    OPTION_ALG = ADMIN_FIRST_OPTION,
    OPTION_DELAY,
    OPTION_NOW,
    OPTION_JSON,
};

static int take_option(const struct cli_command *command, int option, char **argv,
                       struct arguments *arguments)
{
    switch (option) {
    case OPTION_ALG:
        arguments->has_alg = true;
        if (!key_alg_parse(optarg, &arguments->alg))
            return cli_usage(command, "--alg is one of ES256, RS256, HS256");
        return CLI_DONE;
    case OPTION_DELAY:
        if (!integer_parse(optarg, 0, DELAY_MAX, &arguments->delay))
            return cli_usage(command, "seconds are a whole number from 0 to %d", DELAY_MAX);
        if (arguments->now)
            return cli_usage(command, "--now and --activate-in exclude each other");
        arguments->has_delay = true;
        return CLI_DONE;
    case OPTION_NOW:
        arguments->now = true;
        if (arguments->has_delay)
            return cli_usage(command, "--now and --activate-in exclude each other");
        return CLI_DONE;
    case OPTION_JSON:
        arguments->json = true;
        return CLI_DONE;
    default:
        return admin_other_option(command, option, argv);
    }
}

static void ask_longest_ttl(const struct settings *settings, struct arguments *arguments)
{
    struct failure failure = {"DATABASE_URL is not set"};
    PGconn *connection =
        settings->database_url != NULL ? cli_connect(settings, true, &failure) : NULL;
    PGresult *result =
        connection != NULL
            ? admin_query(connection, "SELECT coalesce(max(token_ttl), 0) FROM clients", 0, NULL,
                          &failure)
            : NULL;

    if (result == NULL)
        arguments->no_ttl = failure;
    else if (!integer_parse(PQgetvalue(result, 0, 0), 0, TOKEN_TTL_MAX_S, &arguments->longest_ttl))
        arguments->longest_ttl = TOKEN_TTL_MAX_S;
    PQclear(result);
    PQfinish(connection);
}

/* PostgreSQL is asked as root, perhaps, whose the password may be; the directory is not. */
static bool prepare(const struct settings *settings, struct arguments *arguments,
                    struct failure *failure)
{
    if (arguments->asks_ttl)
        ask_longest_ttl(settings, arguments);
    return owner_become(settings->keys_dir, failure);
}

/* The frame of every command. `arguments` holds the defaults. */
static int run(const struct cli_command *command, int argc, char **argv,
               const struct option *options, struct arguments arguments,
               bool (*action)(const struct settings *, const struct arguments *, struct failure *))
{
    struct settings settings;
    struct failure failure;
    int option, status;

    admin_start_options();
    while ((option = getopt_long(argc, argv, ADMIN_SHORT_OPTIONS, options, NULL)) != -1) {
        status = take_option(command, option, argv, &arguments);
        if (option == 'h' || status != CLI_DONE)
            return status;
    }
    if (optind < argc)
        return cli_usage(command, "unexpected argument %s", argv[optind]);
    status = settings_load(&settings, SETTINGS_NEED_NOTHING, &failure) &&
                     prepare(&settings, &arguments, &failure) &&
                     action(&settings, &arguments, &failure)
                 ? CLI_DONE
                 : cli_fail(&failure);
    settings_dispose(&settings);
    return status;
}

/* jotd key create */

/* A key that signs at once is unknown to verifiers that have cached the JWKS. */
static bool check_takeover(const struct settings *settings, const struct arguments *arguments,
                           struct failure *failure)
{
    struct failure unreadable; /* or not there yet */
    struct key_set *set = key_directory_load(settings->keys_dir, &unreadable);
    bool fine = arguments->has_delay || arguments->now || set == NULL ||
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
    int64_t activate_at = time(NULL) + arguments->delay;
    struct signing_key key = {.alg = arguments->alg, .activate_at = activate_at};
    char name[KEY_NAME_SIZE];

    if (!check_takeover(settings, arguments, failure) ||
        !key_file_create(settings->keys_dir, arguments->alg, activate_at, key.kid, failure))
        return false;
    key_name_write(&key, name);
    fprintf(stderr, "jotd: made %s/%s\n", settings->keys_dir, name);
    if (arguments->json)
        return admin_print_json(json_pack("{s:s, s:s, s:I, s:s}", "kid", key.kid, "alg",
                                          key_alg_name(arguments->alg), "activate_at",
                                          (json_int_t)activate_at, "file", name),
                                failure);
    puts(key.kid);
    return true;
}

static int create(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"alg", required_argument, NULL, OPTION_ALG},
                                            {"activate-in", required_argument, NULL, OPTION_DELAY},
                                            {"now", no_argument, NULL, OPTION_NOW},
                                            {"json", no_argument, NULL, OPTION_JSON},
                                            ADMIN_HELP_OPTION,
                                            {NULL, 0, NULL, 0}};

    return run(command, argc, argv, options, (struct arguments){.alg = KEY_ES256}, create_key);
}

/* jotd key list */

static const struct option options_of_listing[] = {{"json", no_argument, NULL, OPTION_JSON},
                                                   ADMIN_HELP_OPTION,
                                                   {NULL, 0, NULL, 0}};

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

static bool print_json(const struct key_set *set, int64_t now, struct failure *failure)
{
    json_t *keys = json_array();

    for (size_t i = 0; i < set->count; ++i)
        json_array_append_new(keys, key_json(set, &set->keys[i], now));
    return admin_print_json(keys, failure);
}

static void print_table(const struct key_set *set, int64_t now)
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
        done = print_json(set, time(NULL), failure);
    else if (done)
        print_table(set, time(NULL));
    key_set_release(set);
    return done;
}

static int list(const struct cli_command *command, int argc, char **argv)
{
    return run(command, argc, argv, options_of_listing, (struct arguments){0}, list_keys);
}

/* jotd key rotate */

/* Seconds. Says on stderr where it is from. */
static int64_t longest_ttl(const struct settings *settings, const struct arguments *arguments)
{
    long long ttl = arguments->longest_ttl;

    if (arguments->no_ttl.reason[0] != '\0') {
        fprintf(stderr, "jotd: tokens are taken to live up to %d s, the most that is allowed: %s\n",
                TOKEN_TTL_MAX_S, arguments->no_ttl.reason);
        return TOKEN_TTL_MAX_S;
    }
    if (ttl < settings->token_ttl_s)
        ttl = settings->token_ttl_s;
    fprintf(stderr, "jotd: tokens live up to %lld s, by JOTD_TOKEN_TTL and the clients\n", ttl);
    return ttl;
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
        return admin_print_json(json_pack("{s:s, s:s, s:I, s:o}", "kid", rotation->kid, "alg",
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
    struct key_rotation rotation = {.alg = arguments->alg, .lead = arguments->delay};
    const struct signing_key *signing;
    struct key_set *set;
    bool done;

    if ((set = key_directory_load(settings->keys_dir, failure)) == NULL)
        return false;
    signing = key_set_signing(set, time(NULL));
    if (!arguments->has_alg && signing != NULL)
        rotation.alg = signing->alg;
    if (set->count != 0)
        rotation.longest_ttl = longest_ttl(settings, arguments);
    done = key_rotation_run(&rotation, settings->keys_dir, set, time(NULL), failure) &&
           print_rotation(&rotation, arguments->json, failure);
    key_set_release(set);
    return done;
}

static int rotate(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"alg", required_argument, NULL, OPTION_ALG},
                                            {"lead", required_argument, NULL, OPTION_DELAY},
                                            {"json", no_argument, NULL, OPTION_JSON},
                                            ADMIN_HELP_OPTION,
                                            {NULL, 0, NULL, 0}};

    return run(command, argc, argv, options,
               (struct arguments){.alg = KEY_ES256, .delay = LEAD_DEFAULT, .asks_ttl = true},
               rotate_keys);
}

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
        return admin_print_json(removed, failure);
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

static int prune(const struct cli_command *command, int argc, char **argv)
{
    return run(command, argc, argv, options_of_listing, (struct arguments){0}, prune_keys);
}

static const char create_help[] =
    "Usage: jotd key create [--alg ES256|RS256|HS256] [--activate-in SECONDS | --now] [--json]\n"
    "\n"
    "Makes a signing key in JOTD_KEYS_DIR and prints its kid, and its file on stderr. Servers see "
    "it\n"
    "within a second.\n"
    "\n"
    "  --alg ALG              ES256 (default), RS256, or HS256, which is never published\n"
    "  --activate-in SECONDS  when it begins to sign\n"
    "  --now                  it signs at once, which is the default where no key signs: beside "
    "one\n"
    "                         that does, one of the two has to be given\n"
    "  --json                 print kid, alg, activate_at and file\n"
    "\n"
    "To replace a key that is in use, run jotd key rotate instead.\n";

static const char list_help[] =
    "Usage: jotd key list [--json]\n"
    "\n"
    "Shows the keys in JOTD_KEYS_DIR by their time of activation, in UTC. States:\n"
    "\n"
    "  next      published, does not sign yet\n"
    "  signing   signs now\n"
    "  retiring  signs no more, published for the tokens that it signed\n"
    "  retired   no longer published; jotd key prune removes it\n"
    "\n"
    "  --json    print an array of kid, alg, state, activate_at, retire_at (epoch seconds), file\n";

static const char rotate_help[] =
    "Usage: jotd key rotate [--alg ES256|RS256|HS256] [--lead SECONDS] [--json]\n"
    "\n"
    "Makes a key that is published at once and signs after the lead, when everyone who caches the\n"
    "JWKS has it. Older keys stay published until their last token has expired. When no key signs\n"
    "now, the new one does so at once. Prints the new kid.\n"
    "\n"
    "  --alg ALG       default: as the key that signs now, else ES256\n"
    "  --lead SECONDS  default 900\n"
    "  --json          print kid, alg, activate_at and what is retired\n"
    "\n"
    "DATABASE_URL, when set, tells how long tokens live at most; otherwise a day is assumed.\n";

static const char prune_help[] =
    "Usage: jotd key prune [--json]\n"
    "\n"
    "Removes the keys in JOTD_KEYS_DIR whose retire time has passed, and prints their kids.\n"
    "\n"
    "  --json  print an array of kids\n";

static const struct cli_command commands[] = {
    {"create", "make a signing key", create_help, create},
    {"list", "show the signing keys", list_help, list},
    {"rotate", "let a new key take over, without a failed verification", rotate_help, rotate},
    {"prune", "remove the keys that are retired", prune_help, prune},
    {NULL, NULL, NULL, NULL},
};

int admin_key(int argc, char **argv)
{
    return cli_dispatch("jotd key", commands, argc, argv);
}
