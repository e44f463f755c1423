#include "auth/command/client_json.h"

#include <stdlib.h>
#include <string.h>

json_t *client_json_audiences(const struct client_values *client)
{
    const char *rest = client->audiences;
    json_t *audiences = json_array();

    while (*rest != '\0') {
        size_t length = strcspn(rest, " ");

        json_array_append_new(audiences, json_stringn(rest, length));
        rest += length + (rest[length] == ' ');
    }
    return audiences;
}

json_t *client_json_token_ttl(const struct client_values *client)
{
    return client->token_ttl != NULL ? json_integer(strtoll(client->token_ttl, NULL, 10))
                                     : json_null();
}

json_t *client_json(const struct client_values *client)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:b, s:s, s:s}", "client_id",
                     client->client_id, "name", client->name, "tier", client->tier, "scope",
                     client->scope, "audiences", client_json_audiences(client), "token_ttl",
                     client_json_token_ttl(client), "enabled", client->is_enabled, "created_at",
                     client->created_at, "updated_at", client->updated_at);
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
