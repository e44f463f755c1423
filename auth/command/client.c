/* `jotd client`: its commands, and the reading and checking of their arguments. */
#include "auth/command/client.h"

#include <ctype.h>
#include <string.h>

#include "auth/client/client_cache.h"
#include "auth/client/scope.h"
#include "auth/settings.h"

#define OVERLAP_MAX 31536000 /* seconds: a year */
#define LIMIT_MAX   1000000000

static const struct option all_options[] = {
    {"id", required_argument, NULL, CLIENT_OPTION_ID},
    {"name", required_argument, NULL, CLIENT_OPTION_NAME},
    {"tier", required_argument, NULL, CLIENT_OPTION_TIER},
    {"scope", required_argument, NULL, CLIENT_OPTION_SCOPE},
    {"audience", required_argument, NULL, CLIENT_OPTION_AUDIENCE},
    {"token-ttl", required_argument, NULL, CLIENT_OPTION_TOKEN_TTL},
    {"overlap", required_argument, NULL, CLIENT_OPTION_OVERLAP},
    {"limit", required_argument, NULL, CLIENT_OPTION_LIMIT},
    {"json", no_argument, NULL, CLIENT_OPTION_JSON},
};

static void select_options(unsigned allowed, struct option options[COUNT_OF(all_options) + 2])
{
    size_t count = 0;

    for (size_t i = 0; i != COUNT_OF(all_options); ++i) {
        if ((allowed & 1U << (all_options[i].val - ADMIN_FIRST_OPTION)) != 0)
            options[count++] = all_options[i];
    }
    options[count++] = (struct option)ADMIN_HELP_OPTION;
    options[count] = (struct option){0};
}

static int read_id(const struct cli_command *command, const char *text,
                   struct client_arguments *arguments)
{
    if (!client_id_is_valid(slice_of(text)))
        return cli_usage(command, "a client id is 1 to %d characters of A-Z a-z 0-9 . _ -",
                         CLIENT_ID_MAX);
    arguments->id = text;
    return CLI_DONE;
}

/* Control characters would let a name rewrite the terminal of whoever lists it. */
static bool name_is_valid(const char *name)
{
    json_t *utf8 = json_string(name); /* NULL when it is not UTF-8 */
    size_t characters = 0;
    bool valid = utf8 != NULL;

    json_decref(utf8);
    for (; *name != '\0'; ++name) {
        bool c1 = (unsigned char)name[0] == 0xC2 && (unsigned char)name[1] < 0xA0;

        valid = valid && (unsigned char)*name >= ' ' && *name != 0x7F && !c1;
        characters += ((unsigned char)*name & 0xC0) != 0x80;
    }
    return valid && characters >= 1 && characters <= CLIENT_NAME_MAX;
}

static int read_scope(const struct cli_command *command, struct client_arguments *arguments)
{
    struct slice scope = slice_of(optarg), tokens[SCOPE_TOKENS_MAX];
    size_t length = 0;

    if (scope.length > SCOPE_MAX || (scope.length != 0 && !scope_is_valid(scope)))
        return cli_usage(command,
                         "a scope is at most %d bytes of tokens separated by single spaces; a "
                         "token is printable ASCII without space, \" and \\",
                         SCOPE_MAX);
    scope_sort(scope, tokens);
    if (!scope_grant(scope, tokens, scope_count(scope), arguments->scope_text, &length))
        length = 0; /* it grants itself; what was there twice is there once */
    arguments->scope_text[length] = '\0';
    arguments->scope = arguments->scope_text;
    return CLI_DONE;
}

/* RFC 8707 2: an absolute URI (RFC 3986 4.3), or a URN, without a fragment. */
static bool is_absolute_uri(const char *text)
{
    size_t scheme =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    return isalpha((unsigned char)text[0]) && text[scheme] == ':' && text[scheme + 1] != '\0' &&
           strchr(text, '#') == NULL;
}

/* An audience has the characters of a scope token, so audiences are joined like those. An empty
 * one adds nothing: alone it stands for none. */
static int read_audience(const struct cli_command *command, struct client_arguments *arguments)
{
    struct slice audience = slice_of(optarg), before = slice_of(arguments->audiences_text);
    char *end = arguments->audiences_text + before.length;

    arguments->audiences = arguments->audiences_text;
    if (audience.length == 0)
        return CLI_DONE;
    if (audience.length > CLIENT_AUDIENCE_MAX || !scope_is_valid(audience) ||
        strchr(optarg, ' ') != NULL)
        return cli_usage(command,
                         "an audience is a URI of at most %d bytes: printable ASCII without "
                         "space, \" and \\",
                         CLIENT_AUDIENCE_MAX);
    if (!is_absolute_uri(optarg))
        return cli_usage(command, "an audience is an absolute URI without a fragment, such as "
                                  "https://api.example.com or urn:example:api");
    if (scope_has(before, audience))
        return CLI_DONE;
    if (arguments->audience_count++ == CLIENT_AUDIENCES_MAX)
        return cli_usage(command, "a client has at most %d audiences", CLIENT_AUDIENCES_MAX);
    if (before.length != 0)
        *end++ = ' ';
    memcpy(end, audience.bytes, audience.length + 1);
    return CLI_DONE;
}

static int read_number(const struct cli_command *command, const char *name, long long max,
                       const char **text)
{
    long long number;

    if (!integer_parse(optarg, 0, max, &number))
        return cli_usage(command, "%s takes a whole number from 0 to %lld", name, max);
    *text = optarg;
    return CLI_DONE;
}

static int read_option(const struct cli_command *command, int option, char **argv,
                       struct client_arguments *arguments)
{
    switch (option) {
    case CLIENT_OPTION_ID:
        return read_id(command, optarg, arguments);
    case CLIENT_OPTION_NAME:
        arguments->name = optarg;
        return name_is_valid(optarg)
                   ? CLI_DONE
                   : cli_usage(command,
                               "a name is 1 to %d characters of UTF-8 without control characters",
                               CLIENT_NAME_MAX);
    case CLIENT_OPTION_TIER:
        arguments->tier = optarg;
        return CLI_DONE;
    case CLIENT_OPTION_SCOPE:
        return read_scope(command, arguments);
    case CLIENT_OPTION_AUDIENCE:
        return read_audience(command, arguments);
    case CLIENT_OPTION_TOKEN_TTL:
        return read_number(command, "--token-ttl", TOKEN_TTL_MAX_S, &arguments->token_ttl);
    case CLIENT_OPTION_OVERLAP:
        return read_number(command, "--overlap", OVERLAP_MAX, &arguments->overlap);
    case CLIENT_OPTION_LIMIT:
        return read_number(command, "--limit", LIMIT_MAX, &arguments->limit);
    case CLIENT_OPTION_JSON:
        arguments->json = true;
        return CLI_DONE;
    default:
        return admin_other_option(command, option, argv);
    }
}

/* Whoever leaves an option out means the name. */
static int refuse_argument(const struct cli_command *command, const char *argument,
                           unsigned allowed, int takes)
{
    bool is_name = takes == 0 && (allowed & CLIENT_OPTION_BIT(NAME)) != 0;

    return cli_usage(command, "unexpected argument: %s%s%s", argument,
                     is_name ? "; a name is given by --name " : "", is_name ? argument : "");
}

bool client_arguments_read(const struct cli_command *command, int argc, char **argv,
                           unsigned allowed, int takes, struct client_arguments *arguments,
                           int *status)
{
    struct option options[COUNT_OF(all_options) + 2];
    int option;

    memset(arguments, 0, sizeof(*arguments));
    select_options(allowed, options);
    admin_start_options();
    while ((option = getopt_long(argc, argv, ADMIN_SHORT_OPTIONS, options, NULL)) != -1) {
        *status = read_option(command, option, argv, arguments);
        if (*status != CLI_DONE || option == 'h')
            return false;
    }
    *status = CLI_DONE;
    if (takes > 0 && optind == argc)
        *status = cli_usage(command, "the ID of a client is missing");
    else if (takes > 0)
        *status = read_id(command, argv[optind++], arguments);
    if (*status == CLI_DONE && takes > 1 && (arguments->secret_id = argv[optind++]) == NULL)
        *status = cli_usage(command, "the id of a secret is missing: `jotd client show %s` has it",
                            arguments->id);
    if (*status == CLI_DONE && optind < argc)
        *status = refuse_argument(command, argv[optind], allowed, takes);
    return *status == CLI_DONE;
}

int client_act(const struct client_arguments *arguments,
               bool (*act)(PGconn *connection, const struct client_arguments *arguments,
                           struct failure *failure))
{
    struct failure failure;
    PGconn *connection = admin_connect(&failure);
    bool done = connection != NULL && act(connection, arguments, &failure);

    PQfinish(connection);
    return done ? CLI_DONE : cli_fail(&failure);
}

static const struct cli_command commands[] = {
    {"create", "make a client and its secret",
     "Usage: jotd client create --name NAME [options]\n"
     "\n"
     "Makes a client and prints its id and secret. The secret is shown this once: the database\n"
     "holds only its SHA-256.\n"
     "\n"
     "  --name NAME           what people call it\n"
     "  --id ID               1 to 64 characters of A-Z a-z 0-9 . _ -; default: 20 random ones\n"
     "  --tier TIER           its tier (jotd tier list); default: free\n"
     "  --scope \"A B\"         all the scope that it may ask for; default: none\n"
     "  --audience URI        a resource that it may ask tokens for; may repeat; default: the\n"
     "                        issuer\n"
     "  --token-ttl SECONDS   lifetime of its tokens, up to 86400; 0, the default, is the\n"
     "                        server's default\n"
     "  --json                print a JSON object\n"
     "\n"
     "Example: jotd client create --name billing --scope \"read write\"\n",
     client_run_create},
    {"list", "list the clients, newest first",
     "Usage: jotd client list [--tier TIER] [--limit N] [--json]\n"
     "\n"
     "  --tier TIER   only those of this tier\n"
     "  --limit N     at most so many, 0 for all; default: 100\n"
     "  --json        print a JSON array\n",
     client_run_list},
    {"show", "show a client, and its secrets without the secrets themselves",
     "Usage: jotd client show ID [--json]\n", client_run_show},
    {"update", "change a client",
     "Usage: jotd client update ID [options]\n"
     "\n"
     "What is given replaces what was.\n"
     "\n"
     "  --name NAME           what people call it\n"
     "  --tier TIER           its tier (jotd tier list)\n"
     "  --scope \"A B\"         all the scope that it may ask for; \"\" for none\n"
     "  --audience URI        a resource that it may ask tokens for; may repeat; \"\" for none\n"
     "  --token-ttl SECONDS   lifetime of its tokens; 0 for the server's default\n"
     "  --json                print the client as a JSON object\n",
     client_run_update},
    {"rotate", "give a client a new secret",
     "Usage: jotd client rotate ID [--overlap SECONDS] [--json]\n"
     "\n"
     "Makes a new secret and prints it, this once. The old one works until the overlap ends, "
     "which\n"
     "is printed too. Of four that live the oldest ends at once.\n"
     "\n"
     "  --overlap SECONDS   up to 31536000; default: 86400, a day; 0: the old one ends now\n"
     "  --json              print a JSON object\n",
     client_run_rotate},
    {"revoke-secret", "end one secret of a client now",
     "Usage: jotd client revoke-secret ID SECRET_ID [--json]\n"
     "\n"
     "Removes the secret that has this id (jotd client show ID). Its other secrets and the tokens\n"
     "that it has stay valid.\n",
     client_run_revoke_secret},
    {"disable", "refuse a client until it is enabled again",
     "Usage: jotd client disable ID [--json]\n"
     "\n"
     "It gets no more tokens. Those that it has stay valid until they expire.\n",
     client_run_disable},
    {"enable", "let a disabled client in again", "Usage: jotd client enable ID [--json]\n",
     client_run_enable},
    {"delete", "delete a client and its secrets",
     "Usage: jotd client delete ID [--json]\n"
     "\n"
     "What it was issued stays on record.\n",
     client_run_delete},
    {0},
};

int admin_client(int argc, char **argv)
{
    return cli_dispatch("jotd client", commands, argc, argv);
}
