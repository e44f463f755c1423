/* `jotd key rotate`: replaces the signing key, or with --if-older only one that is old enough, so
 * that a timer may run it every day. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/key_command.h"
#include "auth/command/print.h"
#include "auth/store/client_store.h"
#include "auth/token/key_directory.h"
#include "auth/token/key_rotation.h"
#include "common/time_text.h"

#define LEAD_DEFAULT_S 900 /* verifiers cache the JWKS for 5 to 10 minutes */
#define DAY_S          86400
#define DAYS_MAX       3650

struct rotate_values {
    const char *alg;
    struct cli_number lead_s;
    struct cli_number if_older_days;
    bool json;
};

#define AT(member) offsetof(struct rotate_values, member)

/* The longest token_ttl of clients and tiers, from the database. */
static struct {
    long long longest_s;
    struct failure unknown; /* why it is unknown; empty: it is known */
} stored_ttl;

static void ask_longest_ttl(const struct settings *settings)
{
    struct store_failure failure = {.why = {"DATABASE_URL is not set"}};
    PGconn *connection =
        settings->database_url != NULL
            ? store_connect(settings->database_url, DATABASE_APPLICATION, true, &failure.why)
            : NULL;

    if (connection == NULL ||
        !client_store_longest_ttl(connection, &stored_ttl.longest_s, &failure))
        stored_ttl.unknown = failure.why;
    PQfinish(connection);
}

/* The longest that a token may live. Prints on stderr where that comes from. */
static int64_t longest_ttl_s(const struct settings *settings)
{
    long long ttl_s = stored_ttl.longest_s;

    if (stored_ttl.unknown.reason[0] != '\0') {
        fprintf(stderr, "jotd: tokens are taken to live up to %d s, the most that is allowed: %s\n",
                TOKEN_TTL_MAX_S, stored_ttl.unknown.reason);
        return TOKEN_TTL_MAX_S;
    }
    if (ttl_s < settings->token_ttl_s)
        ttl_s = settings->token_ttl_s;
    fprintf(stderr, "jotd: tokens live up to %lld s, by JOTD_TOKEN_TTL, clients and tiers\n",
            ttl_s);
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
        return print_json(json_pack("{s:b, s:s, s:s, s:I, s:o}", "rotated", true, "kid",
                                    rotation->kid, "alg", key_alg_name(rotation->alg),
                                    "activate_at", (json_int_t)rotation->activate_at, "retired",
                                    retired),
                          failure);
    json_decref(retired);
    puts(rotation->kid);
    return true;
}

static bool rotate_set(const struct settings *settings, const struct rotate_values *values,
                       const struct key_set *set, struct failure *failure)
{
    const struct signing_key *signing = key_set_signing(set, time(NULL));
    struct key_rotation rotation = {
        .alg = signing != NULL ? signing->alg : KEY_ES256,
        .lead_s = values->lead_s.is_given ? values->lead_s.value : LEAD_DEFAULT_S,
    };

    if (values->alg != NULL)
        (void)!key_alg_parse(values->alg, &rotation.alg); /* already checked */
    if (set->count != 0)
        rotation.longest_ttl_s = longest_ttl_s(settings);
    return key_rotation_run(&rotation, settings->keys_dir, set, time(NULL), failure) &&
           print_rotation(&rotation, values->json, failure);
}

/* Says why nothing was changed. */
static bool print_newest(const struct signing_key *newest, int64_t due_at, bool json,
                         struct failure *failure)
{
    int64_t days = (time(NULL) - newest->activate_at) / DAY_S;
    char due[TIME_TEXT_SIZE], activate[TIME_TEXT_SIZE];

    time_text_format(due_at * 1000, due);
    if (newest->activate_at > time(NULL))
        fprintf(stderr, "jotd: not rotated: the key %s signs from %s and is to be replaced at %s\n",
                newest->kid, time_text_format(newest->activate_at * 1000, activate), due);
    else
        fprintf(stderr,
                "jotd: not rotated: the key %s is %" PRId64 " day%s old and is to be replaced at "
                "%s\n",
                newest->kid, days, days == 1 ? "" : "s", due);
    return !json ||
           print_json(json_pack("{s:b, s:s, s:I, s:I}", "rotated", false, "kid", newest->kid,
                                "activate_at", (json_int_t)newest->activate_at, "due_at",
                                (json_int_t)due_at),
                      failure);
}

static bool rotate_keys(const struct settings *settings, const void *given, struct failure *failure)
{
    const struct rotate_values *values = given;
    struct key_set *set = key_directory_load(settings->keys_dir, failure);
    const struct signing_key *newest;
    int64_t now = time(NULL), due_at = now;
    bool done;

    if (set == NULL)
        return false;
    if (values->if_older_days.is_given)
        due_at = key_rotation_due_at(set, values->if_older_days.value, now, &newest);
    done = due_at <= now ? rotate_set(settings, values, set, failure)
                         : print_newest(newest, due_at, values->json, failure);
    key_set_release(set);
    return done;
}

static int run_rotate(const struct cli_command *command, const void *given)
{
    const struct rotate_values *values = given;
    enum key_alg alg;
    int status;

    return key_command_read_alg(command, values->alg, &alg, &status)
               ? key_command_run(values, ask_longest_ttl, rotate_keys)
               : status;
}

static const struct cli_option rotate_options[] = {
    KEY_COMMAND_ALG(AT(alg), "ES256, RS256 or HS256; default: that of the key that signs now"),
    {.name = "lead",
     .kind = CLI_NUMBER,
     .offset = AT(lead_s),
     .value = "SECONDS",
     .max = KEY_COMMAND_DELAY_MAX_S,
     .help = "default 900"},
    {.name = "if-older",
     .kind = CLI_NUMBER,
     .offset = AT(if_older_days),
     .value = "DAYS",
     .min = 1,
     .max = DAYS_MAX,
     .help = "only if the newest key, be it that which signs or one that waits,\n"
             "was activated that long ago; also if it is to retire, or no key signs"},
    KEY_COMMAND_JSON(AT(json), "print rotated, and kid, alg, activate_at and the keys that\n"
                               "retire, or if not rotated kid, activate_at and due_at"),
    {0},
};

const struct cli_command command_key_rotate = {
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
    .values_size = sizeof(struct rotate_values),
    .run = run_rotate,
};
