/* `jotd token`: show, revoke. */
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/store/token_store.h"
#include "common/attributes.h"
#include "common/base64.h"

#define TOKEN_MAX 65536 /* bytes */

/* The claims in the middle part of a token, which is not verified. NULL if it is none. */
static json_t *read_claims(struct slice text)
{
    const char *first = memchr(text.bytes, '.', text.length),
               *last = first != NULL ? memrchr(text.bytes, '.', text.length) : NULL;
    struct slice payload;
    size_t length;
    json_t *claims = NULL;
    char *bytes;

    if (last == NULL || last == first)
        return NULL;
    payload = (struct slice){first + 1, (size_t)(last - first - 1)};
    bytes = malloc(payload.length + 3);
    if (bytes != NULL && base64_url_decode(payload, bytes, &length))
        claims = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, NULL);
    free(bytes);
    return claims;
}

static bool read_text(struct slice text, struct uuid *jti)
{
    json_t *claims = NULL;
    const char *claimed;
    bool read = uuid_parse(text, jti);

    if (!read) {
        claims = read_claims(text);
        claimed = json_string_value(json_object_get(claims, "jti"));
        read = claimed != NULL && uuid_parse(slice_of(claimed), jti);
    }
    json_decref(claims);
    return read;
}

/* A line of stdin, without its end. */
static bool read_line(struct uuid *jti)
{
    char *line = OPENSSL_zalloc(TOKEN_MAX + 2);
    bool read = line != NULL && fgets(line, TOKEN_MAX + 2, stdin) != NULL &&
                read_text(slice_trim_end(slice_trim_end(slice_of(line), '\n'), '\r'), jti);

    OPENSSL_clear_free(line, TOKEN_MAX + 2);
    return read;
}

/* Reads a jti, or the one in a token; `-` stands for a line of stdin. */
static bool read_token(const char *text, struct uuid *jti, struct store_failure *failure)
{
    bool read = strcmp(text, "-") == 0 ? read_line(jti) : read_text(slice_of(text), jti);

    return read || store_fail(failure, STORE_INVALID, "/jti",
                              "this is neither a jti, such as 0192f1a5-7c3e-7d10-9f3b-"
                              "2a6b1c4d5e6f, nor a token");
}

static int with_token(const struct cli_command *command, const char *text, const void *values,
                      bool (*act)(PGconn *connection, const struct uuid *jti, const void *values,
                                  struct store_failure *failure))
{
    struct store_failure failure;
    PGconn *connection = NULL;
    struct uuid jti;
    bool done = read_token(text, &jti, &failure) && token_store_check(&jti, &failure) &&
                (connection = database_connect(&failure)) != NULL &&
                act(connection, &jti, values, &failure);

    PQfinish(connection);
    return done ? CLI_DONE : database_fail(command, &failure, NULL);
}

#define TOKEN_ARGUMENT(type)                                                                       \
    {                                                                                              \
        {                                                                                          \
            "JTI|TOKEN", offsetof(type, token), "the JTI of a token, or the token, is missing"     \
        }                                                                                          \
    }

#define TOKEN_NOTES                                                                                \
    "A token on a command line can be seen by others on this machine: give its jti, or - and "     \
    "the\n"                                                                                        \
    "token on stdin."

/* show */

struct show_values {
    const char *token;
    bool json;
};

static const struct cli_option show_options[] = {
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct show_values, json),
     .help = "print a JSON object"},
    {0},
};

static void print_token(const struct token_values *token)
{
    bool is_recorded = token->issued_at != NULL;
    const struct {
        const char *label, *value, *empty;
    } lines[] = {
        {"jti", token->jti, ""},
        {"client_id", token->client_id, "not recorded"},
        {"organization", token->organization, "none"},
        {"credential", token->credential, "not recorded"},
        {"tier", token->tier, "not recorded"},
        {"scope", token->scope, "none"},
        {"audience", token->audience, "not recorded"},
        {"kid", token->kid, "not recorded"},
        {"issued_at", token->issued_at, "not recorded"},
        {"expires_at", token->expires_at, "not recorded"},
        {"revoked_at", token->revoked_at, "not revoked"},
        {"reason", token->reason, "none"},
        {"revoked_by", token->revoked_by, token->revoked_at == NULL ? "nobody" : "not recorded"},
    };

    for (size_t i = 0; i != COUNT_OF(lines); ++i) {
        bool is_of_ledger = i != 0 && i < COUNT_OF(lines) - 3;
        const char *empty = is_of_ledger && !is_recorded ? "not recorded" : lines[i].empty;

        printf("%-14s%s\n", lines[i].label, lines[i].value != NULL ? lines[i].value : empty);
    }
    printf("%-14s%s%s\n", "active", token->inactive_because == NULL ? "yes" : "no: ",
           token->inactive_because != NULL ? token->inactive_because : "");
}

static bool show(PGconn *connection, const struct uuid *jti, const void *given,
                 struct store_failure *failure)
{
    const struct show_values *values = given;
    PGresult *found = token_store_find(connection, jti, failure);
    struct token_values shown;
    bool done = found != NULL;

    if (done)
        shown = token_store_values(found, 0);
    if (done && values->json)
        done = print_json(token_store_document(&shown), &failure->why);
    else if (done)
        print_token(&shown);
    PQclear(found);
    return done;
}

static int run_show(const struct cli_command *command, const void *given)
{
    return with_token(command, ((const struct show_values *)given)->token, given, show);
}

static const struct cli_command command_show = {
    .path = "jotd token show",
    .summary = "show what is on record about a token",
    .help =
        "Shows a token's row in the ledger, whether it was revoked, and whether it is active or\n"
        "why not, as far as the database tells: it does not know which keys are published.\n"
        "The token itself is stored nowhere. It is recorded some seconds after it was issued.",
    .options = show_options,
    .notes = TOKEN_NOTES,
    .arguments = TOKEN_ARGUMENT(struct show_values),
    .values_size = sizeof(struct show_values),
    .run = run_show,
};

/* revoke */

struct revoke_values {
    const char *token;
    const char *reason;
    bool json;
};

static const struct cli_option revoke_options[] = {
    {.name = "reason",
     .kind = CLI_TEXT,
     .offset = offsetof(struct revoke_values, reason),
     .value = "TEXT",
     .help = "why, for the record; at most 200 characters"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct revoke_values, json),
     .help = "print a JSON object"},
    {0},
};

static bool print_revoked(const struct token_revocation_values *token, bool json,
                          struct failure *failure)
{
    static const char *const states[] = {
        [TOKEN_REVOKED] = "revoked",
        [TOKEN_REVOKED_BEFORE] = "already_revoked",
        [TOKEN_EXPIRED] = "expired",
    };

    if (token->client_id == NULL)
        fputs("The ledger has no such token, or not yet, so whether there is one is not known.\n",
              stderr);
    if (json)
        return print_json(json_pack("{s:s, s:s, s:b, s:s?, s:s}", "jti", token->jti, "state",
                                    states[token->state], "recorded", token->client_id != NULL,
                                    "client_id", token->client_id, "expires_at", token->expires_at),
                          failure);
    if (token->state == TOKEN_EXPIRED)
        printf("%s expired at %s: there is nothing to revoke\n", token->jti, token->expires_at);
    else
        printf("%s %s\n",
               token->state == TOKEN_REVOKED ? "revoked" : "was revoked before:", token->jti);
    return true;
}

static bool revoke(PGconn *connection, const struct uuid *jti, const void *given,
                   struct store_failure *failure)
{
    const struct revoke_values *values = given;
    PGresult *result = token_store_revoke(connection, NULL, jti, values->reason, failure);
    struct token_revocation_values revoked;
    bool done = result != NULL;

    if (done) {
        revoked = token_store_revocation(result);
        done = print_revoked(&revoked, values->json, &failure->why);
    }
    PQclear(result);
    return done;
}

static int run_revoke(const struct cli_command *command, const void *given)
{
    return with_token(command, ((const struct revoke_values *)given)->token, given, revoke);
}

static const struct cli_command command_revoke = {
    .path = "jotd token revoke",
    .summary = "make a token inactive before it expires",
    .help =
        "Revokes one token: /introspect answers that it is inactive, in every server within\n"
        "100 ms, and /revocations lists it. Services that verify tokens offline do not see it,\n"
        "unless they follow /revocations. A token that the ledger does not have (yet) is\n"
        "taken to live for a day. `jotd client revoke-tokens ID` revokes all of a client's.",
    .options = revoke_options,
    .notes = TOKEN_NOTES,
    .arguments = TOKEN_ARGUMENT(struct revoke_values),
    .values_size = sizeof(struct revoke_values),
    .run = run_revoke,
};

const struct cli_command command_token = {
    .path = "jotd token",
    .summary = "show and revoke tokens",
    .commands = (const struct cli_command *const[]){&command_show, &command_revoke, NULL},
};
