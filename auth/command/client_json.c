#include "auth/command/client_json.h"

#include <stdlib.h>
#include <string.h>

static json_t *split(const char *rest)
{
    json_t *items = json_array();

    while (*rest != '\0') {
        size_t length = strcspn(rest, " ");

        json_array_append_new(items, json_stringn(rest, length));
        rest += length + (rest[length] == ' ');
    }
    return items;
}

static json_t *integer(const char *number)
{
    return number != NULL ? json_integer(strtoll(number, NULL, 10)) : json_null();
}

/* Statements typed by hand may have stored numbers that jansson refuses; then it is a string. */
static json_t *parse(const char *object)
{
    json_t *parsed = json_loads(object, 0, NULL);

    return parsed != NULL ? parsed : json_string(object);
}

json_t *client_json(const struct client_values *client)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:o, s:s?, s:o, s:o, s:o, s:s?, s:b, s:s, s:s, s:o}",
        "client_id", client->client_id, "name", client->name, "tier", client->tier, "scope",
        client->scope, "audiences", split(client->audiences), "token_ttl",
        integer(client->token_ttl), "organization", client->organization, "introspect",
        split(client->introspect), "labels", parse(client->labels), "claims", parse(client->claims),
        "tokens_valid_from", client->tokens_valid_from, "enabled", client->is_enabled, "created_at",
        client->created_at, "updated_at", client->updated_at, "version", integer(client->version));
}

char *client_json_line(const char *object)
{
    json_t *parsed = parse(object);
    char *line =
        json_is_object(parsed) && json_object_size(parsed) == 0
            ? NULL
            : json_dumps(parsed, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));

    json_decref(parsed);
    return line;
}

json_t *client_json_secrets(const PGresult *secrets)
{
    json_t *array = json_array();

    for (int row = 0; row != PQntuples(secrets); ++row) {
        struct secret_values secret = secret_store_values(secrets, (size_t)row);

        json_array_append_new(array, json_pack("{s:s, s:s, s:s?}", "secret_id", secret.secret_id,
                                               "created_at", secret.created_at, "expires_at",
                                               secret.expires_at));
    }
    return array;
}

json_t *client_json_secrets_used(const PGresult *secrets)
{
    json_t *array = client_json_secrets(secrets), *secret;
    size_t row;

    json_array_foreach(array, row, secret)
    {
        const char *day;
        enum secret_use use = secret_store_use(secrets, row, &day);

        json_object_set_new(secret, "last_used_on", day != NULL ? json_string(day) : json_null());
        json_object_set_new(secret, "last_use_unknown",
                            json_boolean(use == SECRET_USE_OLDER ||
                                         use == SECRET_USE_NOT_RECORDED));
    }
    return array;
}
