/* Clients and their secrets as the JSON that commands print. */
#ifndef AUTH_COMMAND_CLIENT_JSON_H
#define AUTH_COMMAND_CLIENT_JSON_H

#include <jansson.h>
#include <libpq-fe.h>

#include "auth/store/client_store.h"

/* The whole client, without its secrets. */
json_t *client_json(const struct client_values *client);

/* Its audiences, and its token_ttl: null for the server's default. */
json_t *client_json_audiences(const struct client_values *client);
json_t *client_json_token_ttl(const struct client_values *client);

/* All rows of secret_store_list, as an array. */
json_t *client_json_secrets(const PGresult *secrets);

#endif
